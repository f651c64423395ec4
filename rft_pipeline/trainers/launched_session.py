"""A training session in several processes, with the interface of `session.Session`.

Each call is a command: a file that all processes read. The main process answers with another file. The new weights are
handed over in a file too.
"""

import json
import shutil
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

from rft_pipeline.files import replace_text
from rft_pipeline.trainers.base import TrainJob
from rft_pipeline.trainers.kept import prepare
from rft_pipeline.trainers.launching import Processes
from rft_pipeline.trainers.rows import Trained, TrainingRow

if TYPE_CHECKING:
    import torch

    from rft_pipeline.trainers.session import Session

COMMAND, ANSWER = "command-{}.json", "answer-{}.json"


def open_session(job: TrainJob) -> "Session | LaunchedSession":
    """A session in this process, or in as many as `training.runtime.processes` says. Close it after use."""
    if job.training.runtime.processes > 1:
        return LaunchedSession(job)
    from rft_pipeline.trainers.session import Session

    return Session(job)


class LaunchedSession:
    """Processes that train generation by generation. All methods are those of `Session`, and raise `EngineError` if a
    process fails."""

    def __init__(self, job: TrainJob) -> None:
        prepare(job.kept, job.training)
        folder = Path(mkdtemp(prefix="processes-", dir=job.kept))
        self._processes = Processes(replace(job, scratch=folder), folder, in_generations=True)
        self._ended = weakref.finalize(self, self._processes.end)
        self._number = 0
        self.steps_done = self.generations_done = 0
        self._ask("state")

    def train(self, rows: Sequence[TrainingRow], generation: int) -> Trained:
        return Trained(**self._ask("train", rows=[asdict(row) for row in rows], generation=generation))

    def effective_share(self, rows: Sequence[TrainingRow]) -> float:
        share: float = self._ask("effective_share", rows=[asdict(row) for row in rows])
        return share

    def log_probs(self, rows: Sequence[TrainingRow]) -> list[list[float]]:
        found: list[list[float]] = self._ask("log_probs", rows=[asdict(row) for row in rows])
        return found

    def weights(self) -> Iterator[tuple[str, "torch.Tensor"]]:
        from safetensors import safe_open

        path = self._processes.folder / "weights.safetensors"
        self._ask("weights", path=str(path))
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 - the file is no mapping
                    yield name, file.get_tensor(name)
        finally:
            path.unlink()

    def save(self) -> None:
        self._ask("save")

    def finish(self, scratch: Path) -> dict[str, float]:
        last: dict[str, float] = self._ask("finish", scratch=str(scratch.absolute()))
        self.close()
        return last

    def close(self) -> None:
        """End the processes and remove their files."""
        self._ended()
        shutil.rmtree(self._processes.folder, ignore_errors=True)

    def _ask(self, what: str, **arguments: Any) -> Any:
        """Have a method called in every process; its result in the main process."""
        folder, number = self._processes.folder, self._number
        self._number += 1
        answer = folder / ANSWER.format(number)
        replace_text(folder / COMMAND.format(number), json.dumps({"what": what, **arguments}))
        self._processes.follow(answer.is_file)
        found = json.loads(answer.read_text(encoding="utf-8"))
        self.steps_done, self.generations_done = found["steps_done"], found["generations_done"]
        return found["result"]
