"""One of the processes that train a job together: `accelerate launch -m rft_pipeline.trainers.launched FOLDER`.

All train; the first alone writes the checkpoint, tells each step and leaves the result.
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
from rft_pipeline.trainers.launching import BATCH, JOB, RESULT, TOLD
from rft_pipeline.trainers.methods import METHODS
from rft_pipeline.trainers.settings import Training


def main(folder: Path) -> None:
    handed = json.loads((folder / JOB).read_text(encoding="utf-8"))
    folders = {name: Path(handed[name]) for name in ("start", "base", "scratch", "kept")}

    def tell(step: int, metrics: dict[str, float]) -> None:
        os.kill(handed["parent"], 0)  # raises when it was killed: a rerun may be at the same work
        with (folder / TOLD).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **metrics}) + "\n")

    job = TrainJob(
        **folders,
        batch=pl.read_parquet(folder / BATCH, glob=False),
        weights=handed["weights"],
        training=Training.model_validate(handed["training"]),
        sampling=Sampling.model_validate(handed["sampling"]),
        seed=handed["seed"],
        log_step=tell,
    )
    processes = PartialState(cpu=pick_device(job.training.runtime.device) == "cpu").num_processes
    if processes != job.training.runtime.processes:
        raise EngineError(f"{processes} processes were started instead of {job.training.runtime.processes}")
    result = METHODS[job.training.method](job)
    if PartialState().is_main_process:
        (folder / RESULT).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
