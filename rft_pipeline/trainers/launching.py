"""Starts the processes of a training with `accelerate launch`, and trains a job in them.

The job and its results are passed as files; `launched.py` is the other side.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import yaml

from rft_pipeline.errors import EngineError
from rft_pipeline.trainers.base import TrainJob

BATCH, JOB, STEP_LOG, RESULT = "batch.parquet", "job.json", "steps.jsonl", "result.json"
ERROR, OUTPUT = "error.txt", "output.log"
"""What a process that failed wrote last, and the output of all of them."""
LOOK_EVERY = 0.1
"""Seconds between two looks for new files."""
SHOWN = 30
"""Lines of output in an error message."""


def train_launched(job: TrainJob) -> dict[str, float]:
    """Train with the processes of `training.runtime` and write the checkpoint; the method's metrics.

    Raises `EngineError` with the end of their output if the processes fail. They end when this process ends.
    """
    folder = job.scratch / "job"
    folder.mkdir()
    processes = Processes(job, folder)
    try:
        processes.follow()
        result: dict[str, float] = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    finally:
        processes.end()
    shutil.rmtree(folder)
    return result


class Processes:
    """The processes of one training."""

    def __init__(self, job: TrainJob, folder: Path, *, in_generations: bool = False) -> None:
        """Start them; files are exchanged in `folder`. With `in_generations` they wait for commands; otherwise they
        train on the job's batch and end."""
        self.job, self.folder = job, folder
        hand_over(job, self.folder, parent=os.getpid(), in_generations=in_generations)
        (self.folder / STEP_LOG).touch()
        self._lines = (self.folder / STEP_LOG).open(encoding="utf-8")
        with (self.folder / OUTPUT).open("wb") as output:
            self._process = subprocess.Popen(self._command(), stdout=output, stderr=subprocess.STDOUT)

    def follow(self, until: Callable[[], bool] = lambda: False) -> None:
        """Pass on the log of steps until something is true, or else until the processes have ended.

        Raises `EngineError` if they fail.
        """
        ended = None
        while ended is None and not until():
            time.sleep(LOOK_EVERY)
            ended = self._process.poll()
            self._pass_on()
        self._pass_on()
        if ended:
            said = next(path for path in (self.folder / ERROR, self.folder / OUTPUT) if path.is_file())
            shown = said.read_text(encoding="utf-8", errors="replace").splitlines()[-SHOWN:]
            raise EngineError(
                f"training in {self.job.training.runtime.processes} processes failed with exit code {ended}; the end "
                "of their output:\n" + "\n".join(shown)
            )

    def end(self) -> None:
        self._process.terminate()
        self._process.wait()
        self._lines.close()

    def _pass_on(self) -> None:
        """Pass on the new lines of the step log; an incomplete line is read later."""
        while True:
            place = self._lines.tell()
            line = self._lines.readline()
            if not line.endswith("\n"):
                self._lines.seek(place)
                return
            metrics = json.loads(line)
            self.job.log_step(metrics.pop("step"), metrics)

    def _command(self) -> list[str]:
        runtime = self.job.training.runtime
        config = runtime.accelerate_config
        if config is None:
            config = str(self.folder / "accelerate.yaml")
            settings = {
                "compute_environment": "LOCAL_MACHINE",
                # on CPUs too: MULTI_CPU needs mpirun, and starts a single process without it; the job sets the device
                "distributed_type": "MULTI_GPU",
                "num_machines": 1,
                "mixed_precision": "no",  # the trainer sets bf16
            }
            with open(config, "w", encoding="utf-8") as file:
                yaml.safe_dump(settings, file)
        launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", config]
        how = ["--num_processes", str(runtime.processes), "--main_process_port", str(_free_port())]
        return [*launch, *how, "--module", "rft_pipeline.trainers.launched", str(self.folder)]


def hand_over(job: TrainJob, folder: Path, parent: int, *, in_generations: bool = False) -> None:
    """Write the job for `launched`, whose processes end when the process `parent` has ended."""
    job.batch.write_parquet(folder / BATCH)
    plain = {
        **{name: str(getattr(job, name).absolute()) for name in ("start", "base", "scratch", "kept")},
        "weights": dict(job.weights),
        "training": job.training.model_dump(mode="json"),
        "sampling": job.sampling.model_dump(mode="json"),
        "seed": job.seed,
        "parent": parent,
        "in_generations": in_generations,
    }
    (folder / JOB).write_text(json.dumps(plain), encoding="utf-8")


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
