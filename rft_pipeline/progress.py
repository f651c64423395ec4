"""Progress of a running stage: a small file for other processes, and a log line every few seconds."""

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from rft_pipeline.files import replace_text

log = logging.getLogger(__name__)

LINE_EVERY = 5.0
FILE_EVERY = 0.5


class Report(NamedTuple):
    """A stage's progress at one moment."""

    stage: str
    what: str
    done: int
    total: int
    seconds: float
    waits_for: str = ""
    """The process that already runs this stage, in words; empty if there is none."""
    within: str = ""
    """The part of the stage that it is in, in words, e.g. a generation; empty if it has no parts."""

    @property
    def rate(self) -> float:
        """Items per second since the count began; 0 at the start."""
        return self.done / self.seconds if self.seconds else 0.0

    @property
    def seconds_left(self) -> float | None:
        return (self.total - self.done) / self.rate if self.rate else None


class Progress:
    """Counts the finished items of a stage. Stages call `advance`; this class limits how often it writes and logs."""

    def __init__(self, stage: str, path: Path | None = None) -> None:
        self.stage = stage
        self.path = path
        self.waits_for = ""
        self.within = ""
        self.spent: dict[str, dict[str, float]] = {}
        """`count` and `seconds` by kind of item."""
        self._start("", 0)

    def _start(self, what: str, total: int) -> None:
        self.what, self.total, self.done = what, total, 0
        self.began = self.wrote = self.logged = time.monotonic()

    @contextmanager
    def counting(self, what: str, total: int) -> Iterator["Progress"]:
        """Count `total` items called `what`, e.g. `rollouts`."""
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
        if now - self.logged >= LINE_EVERY or self.done >= self.total:
            self.logged = now
            report = self.report()
            where = f"{self.stage}, {self.within}" if self.within else self.stage
            log.info("%s: %d/%d %s, %.1f/s", where, self.done, self.total, self.what, report.rate)

    def wait_for(self, holder: str) -> None:
        """Report that the stage waits for another process, until counting begins."""
        if holder != self.waits_for:
            log.warning("%s: waiting for %s", self.stage, holder)
        self.waits_for = holder
        self._write()

    def report(self) -> Report:
        seconds = time.monotonic() - self.began
        return Report(self.stage, self.what, self.done, self.total, seconds, self.waits_for, self.within)

    def close(self) -> None:
        """Remove the file."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def _write(self) -> None:
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        replace_text(self.path, json.dumps(self.report()._asdict()))


def progress_file(folder: Path, key: str, run: str) -> Path:
    """The file of one stage in one run. Two runs may have the same stage, with one waiting."""
    return folder / f"{key.replace('/', '.')}.{run}.json"


def forget(folder: Path, key: str) -> None:
    """Remove the files of killed runs of a stage. Waiting runs write theirs again within a second."""
    for path in folder.glob(progress_file(folder, key, "*").name):
        path.unlink(missing_ok=True)


def read_progress(folder: Path, run: str = "*") -> list[Report]:
    """The progress of all running stages, in one run or in all, from the files in `folder`."""
    reports = []
    for path in sorted(folder.glob(f"*.{run}.json")):
        try:
            stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            continue  # the stage has just ended or is writing
        reports.append(Report(**stored))
    return reports
