"""One process of a distributed training: `accelerate launch -m rft_pipeline.trainers.launched FOLDER`.

The main process writes the checkpoint, the log of steps and the result.
"""

import gc
import json
import os
import sys
import time
import traceback
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any

import polars as pl
from accelerate import PartialState

from rft_pipeline.engines.settings import Sampling
from rft_pipeline.engines.weights import pick_device
from rft_pipeline.errors import EngineError
from rft_pipeline.files import replace_text
from rft_pipeline.trainers.base import LogStep, TrainJob
from rft_pipeline.trainers.launched_session import ANSWER, COMMAND
from rft_pipeline.trainers.launching import BATCH, ERROR, JOB, LOOK_EVERY, RESULT, STEP_LOG
from rft_pipeline.trainers.rows import TrainingRow
from rft_pipeline.trainers.settings import Training


def main(folder: Path) -> None:
    stored = json.loads((folder / JOB).read_text(encoding="utf-8"))
    job = _job(folder, stored)
    processes = PartialState(cpu=pick_device(job.training.runtime.device) == "cpu").num_processes
    if processes != job.training.runtime.processes:
        raise EngineError(f"{processes} processes were started instead of {job.training.runtime.processes}")
    if stored["in_generations"]:
        serve(job, folder, stored["parent"])
        return
    result = job.training.how.train(job)
    if PartialState().is_main_process:
        (folder / RESULT).write_text(json.dumps(result), encoding="utf-8")


def serve(job: TrainJob, folder: Path, parent: int) -> None:
    """Carry out the commands of a `LaunchedSession`, until this process is ended or its parent is gone."""
    from rft_pipeline.trainers.session import Session

    session = Session(job)
    for number in count():
        command = folder / COMMAND.format(number)
        while not command.is_file():
            os.kill(parent, 0)  # raises if it is gone
            time.sleep(LOOK_EVERY)
        result = _carry_out(session, **json.loads(command.read_text(encoding="utf-8")))
        if PartialState().is_main_process:
            counters = {"steps_done": session.steps_done, "generations_done": session.generations_done}
            replace_text(folder / ANSWER.format(number), json.dumps({**counters, "result": result}))


def _carry_out(session: Any, what: str, rows: Any = (), generation: int = 0, path: str = "", scratch: str = "") -> Any:
    """The result of a command, as plain data."""
    found = [TrainingRow(**row) for row in rows]
    match what:
        case "train":
            return asdict(session.train(found, generation))
        case "effective_share":
            return session.effective_share(found)
        case "log_probs":
            return session.log_probs(found)
        case "weights":
            session.write_weights(Path(path))
        case "save":
            session.save()
        case "finish":
            return session.finish(Path(scratch))
    return None


def _job(folder: Path, stored: dict[str, Any]) -> TrainJob:
    return TrainJob(
        **{name: Path(stored[name]) for name in ("start", "base", "scratch", "kept")},
        batch=pl.read_parquet(folder / BATCH, glob=False),
        weights=stored["weights"],
        training=Training.model_validate(stored["training"]),
        sampling=Sampling.model_validate(stored["sampling"]),
        seed=stored["seed"],
        log_step=_log_to(folder / STEP_LOG, stored["parent"]),
    )


def _log_to(path: Path, parent: int) -> LogStep:
    def log_step(step: int, metrics: dict[str, float]) -> None:
        os.kill(parent, 0)  # raises if the parent was killed: a rerun may be doing the same work
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **metrics}) + "\n")

    return log_step


def _import() -> None:
    """Import what trains without looking for garbage: imports leave none, and it takes a third of their time."""
    gc.disable()
    try:
        import rft_pipeline.trainers.session  # noqa: F401
    finally:
        gc.freeze()
        gc.enable()


if __name__ == "__main__":
    try:
        _import()
        main(Path(sys.argv[1]))
    except Exception:
        replace_text(Path(sys.argv[1]) / ERROR, traceback.format_exc())
        raise
