"""Progress of a running stage: a small file for whoever watches, and a log line every few seconds."""

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

log = logging.getLogger(__name__)

LINE_EVERY = 5.0
FILE_EVERY = 0.5


class Report(NamedTuple):
    """One reading of a stage's progress."""

    stage: str
    what: str
    done: int
    total: int
    seconds: float
    waits_for: str = ""
    """Who makes this stage already, in words; empty when nobody else does."""

    @property
    def rate(self) -> float:
        """Items a second since the stage began; 0 at the start."""
        return self.done / self.seconds if self.seconds else 0.0

    @property
    def seconds_left(self) -> float | None:
        return (self.total - self.done) / self.rate if self.rate else None


class Progress:
    """Counts what a stage has done. Stages call `advance`; writing and logging are rationed here."""

    def __init__(self, stage: str, path: Path | None = None) -> None:
        self.stage = stage
        self.path = path
        self.waits_for = ""
        self.spent: dict[str, dict[str, float]] = {}
        """What was counted → how many (`count`) and in how many `seconds`."""
        self._start("", 0)

    def _start(self, what: str, total: int) -> None:
        self.what, self.total, self.done = what, total, 0
        self.began = self.wrote = self.said = time.monotonic()

    @contextmanager
    def counting(self, what: str, total: int) -> Iterator["Progress"]:
        """Count `total` things called `what`, e.g. `rollouts`."""
        self.waits_for = ""
        self._start(what, total)
        self._write()
        yield self
        spent = self.spent.setdefault(what, {"count": 0, "seconds": 0.0})
        spent["count"] += self.done
        spent["seconds"] = round(spent["seconds"] + self.report().seconds, 3)

    def advance(self, n: int) -> None:
        self.done += n
        now = time.monotonic()
        if now - self.wrote >= FILE_EVERY or self.done >= self.total:
            self.wrote = now
            self._write()
        if now - self.said >= LINE_EVERY or self.done >= self.total:
            self.said = now
            report = self.report()
            log.info("%s: %d/%d %s, %.1f/s", self.stage, self.done, self.total, self.what, report.rate)

    def wait_for(self, whom: str) -> None:
        """Say that the stage cannot begin, until something is counted."""
        if whom != self.waits_for:
            log.warning("%s: waiting for %s", self.stage, whom)
        self.waits_for = whom
        self._write()

    def report(self) -> Report:
        seconds = time.monotonic() - self.began
        return Report(self.stage, self.what, self.done, self.total, seconds, self.waits_for)

    def close(self) -> None:
        """Remove the file: nothing is running any more."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def _write(self) -> None:
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_suffix(".tmp")
        beside.write_text(json.dumps(self.report()._asdict()), encoding="utf-8")
        beside.replace(self.path)


def progress_file(folder: Path, key: str, run: str) -> Path:
    """The file of one stage in one run: two runs may be at the same stage, one of them waiting."""
    return folder / f"{key.replace('/', '.')}.{run}.json"


def forget(folder: Path, key: str) -> None:
    """Remove what killed runs left of a stage; whoever waits for it writes again within a second."""
    for path in folder.glob(progress_file(folder, key, "*").name):
        path.unlink(missing_ok=True)


def read_progress(folder: Path, run: str = "*") -> list[Report]:
    """What is running now, in one run or in all, from the files in `folder`."""
    reports = []
    for path in sorted(folder.glob(f"*.{run}.json")):
        try:
            stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            continue  # the stage ended, or is writing, this very moment
        reports.append(Report(**stored))
    return reports
