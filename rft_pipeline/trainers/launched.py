"""One process of a distributed training: `accelerate launch -m rft_pipeline.trainers.launched FOLDER`.

The main process writes the checkpoint, the log of steps and the result.
"""

import json
import os
import sys
from pathlib import Path

import polars as pl
from accelerate import PartialState

from rft_pipeline.engines.settings import Sampling
from rft_pipeline.engines.weights import pick_device
from rft_pipeline.errors import EngineError
from rft_pipeline.trainers.base import TrainJob
from rft_pipeline.trainers.launching import BATCH, JOB, RESULT, STEP_LOG
from rft_pipeline.trainers.settings import Training


def main(folder: Path) -> None:
    stored = json.loads((folder / JOB).read_text(encoding="utf-8"))
    folders = {name: Path(stored[name]) for name in ("start", "base", "scratch", "kept")}

    def log_step(step: int, metrics: dict[str, float]) -> None:
        os.kill(stored["parent"], 0)  # raises if the parent was killed: a rerun may be doing the same work
        with (folder / STEP_LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **metrics}) + "\n")

    job = TrainJob(
        **folders,
        batch=pl.read_parquet(folder / BATCH, glob=False),
        weights=stored["weights"],
        training=Training.model_validate(stored["training"]),
        sampling=Sampling.model_validate(stored["sampling"]),
        seed=stored["seed"],
        log_step=log_step,
    )
    processes = PartialState(cpu=pick_device(job.training.runtime.device) == "cpu").num_processes
    if processes != job.training.runtime.processes:
        raise EngineError(f"{processes} processes were started instead of {job.training.runtime.processes}")
    result = job.training.how.train(job)
    if PartialState().is_main_process:
        (folder / RESULT).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
