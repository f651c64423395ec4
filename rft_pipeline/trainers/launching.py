"""Trains a job in several processes with `accelerate launch`.

The job and its results are passed as files; `launched.py` is the other side.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from rft_pipeline.errors import EngineError
from rft_pipeline.trainers.base import TrainJob

BATCH, JOB, STEP_LOG, RESULT, OUTPUT = "batch.parquet", "job.json", "steps.jsonl", "result.json", "output.log"
LOOK_EVERY = 0.2
"""Seconds between two reads of the step log."""
SHOWN = 30
"""Lines of output in an error message."""


def train_launched(job: TrainJob) -> dict[str, float]:
    """Train with the processes of `training.runtime` and write the checkpoint; the method's metrics.

    Raises `EngineError` with the end of their output if the processes fail. They end when this process ends.
    """
    folder = job.scratch / "job"
    folder.mkdir()
    hand_over(job, folder, parent=os.getpid())
    step_log = folder / STEP_LOG
    step_log.touch()
    with (folder / OUTPUT).open("wb") as output:
        process = subprocess.Popen(_command(job, folder), stdout=output, stderr=subprocess.STDOUT)
        try:
            with step_log.open(encoding="utf-8") as lines:
                while process.poll() is None:
                    time.sleep(LOOK_EVERY)
                    _pass_on(lines, job)
                _pass_on(lines, job)
        finally:
            process.terminate()
            process.wait()
    if process.returncode != 0:
        shown = (folder / OUTPUT).read_text(encoding="utf-8", errors="replace").splitlines()[-SHOWN:]
        raise EngineError(
            f"training in {job.training.runtime.processes} processes failed with exit code {process.returncode}; the "
            "end of their output:\n" + "\n".join(shown)
        )
    result: dict[str, float] = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    shutil.rmtree(folder)
    return result


def _pass_on(lines: Any, job: TrainJob) -> None:
    """Pass on the new lines of the step log; an incomplete line is read later."""
    while True:
        place = lines.tell()
        line = lines.readline()
        if not line.endswith("\n"):
            lines.seek(place)
            return
        metrics = json.loads(line)
        job.log_step(metrics.pop("step"), metrics)


def hand_over(job: TrainJob, folder: Path, parent: int) -> None:
    """Write the job for `launched`, whose processes end when the process `parent` has ended."""
    job.batch.write_parquet(folder / BATCH)
    plain = {
        **{name: str(getattr(job, name).absolute()) for name in ("start", "base", "scratch", "kept")},
        "weights": dict(job.weights),
        "training": job.training.model_dump(mode="json"),
        "sampling": job.sampling.model_dump(mode="json"),
        "seed": job.seed,
        "parent": parent,
    }
    (folder / JOB).write_text(json.dumps(plain), encoding="utf-8")


def _command(job: TrainJob, folder: Path) -> list[str]:
    runtime = job.training.runtime
    config = runtime.accelerate_config
    if config is None:
        config = str(folder / "accelerate.yaml")
        settings = {
            "compute_environment": "LOCAL_MACHINE",
            # on CPUs too: MULTI_CPU needs mpirun, and starts a single process without it; the job sets the device
            "distributed_type": "MULTI_GPU",
            "num_machines": 1,
            "mixed_precision": "no",  # the trainer sets bf16
        }
        Path(config).write_text(yaml.safe_dump(settings), encoding="utf-8")
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", config]
    how = ["--num_processes", str(runtime.processes), "--main_process_port", str(_free_port())]
    return [*launch, *how, "--module", "rft_pipeline.trainers.launched", str(folder)]


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
