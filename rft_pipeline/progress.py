"""Progress of a running stage: a small file for other processes, and a log line every 30 seconds."""

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import Any, NamedTuple

from rft_pipeline.files import replace_text

log = logging.getLogger(__name__)

LINE_EVERY = 30.0
FILE_EVERY = 0.5


def judgements_of(criterion: str) -> str:
    """The name of the work of judging by a criterion."""
    return f"judgements of {criterion}"


def kind_of(what: str) -> str:
    """The kind of a work: `rollouts`, `judgements` or `steps`."""
    return what.partition(" of ")[0]


def counted(count: int, one: str) -> str:
    """`1 round`, `2 rounds`."""
    return f"{count:,} {one}" if count == 1 else f"{count:,} {one}s"


def duration(seconds: float | None) -> str:
    """`4 s`, `3 min 20 s`, `2 h 5 min`; `?` when there is no estimate."""
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


class StageProgress(NamedTuple):
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


@dataclass
class _Count:
    """Items of one kind that are being made."""

    what: str
    total: int
    began: float
    done: int = 0
    seconds: float = 0.0
    """The time so far, divided among the counts that ran at the same time."""


class Progress:
    """Counts the finished items of a stage. Stages call `advance`; this class limits how often it writes and logs.

    Several threads may count at once.
    """

    def __init__(self, stage: str, path: Path | None = None) -> None:
        self.stage = stage
        self.path = path
        self.waits_for = ""
        self.within = ""
        self.spent: dict[str, dict[str, float]] = {}
        """`count` and `seconds` by kind of item. Time that several kinds took together is divided among them."""
        self._lock = RLock()
        self._running: list[_Count] = []
        self._shown = [_Count("", 0, time.monotonic())]
        """The newest count, with those of its kind that run at the same time."""
        self._divided = self.wrote = self.logged = time.monotonic()

    @contextmanager
    def counting(self, what: str, total: int) -> Iterator["Progress"]:
        """Count `total` items called `what`, e.g. `rollouts` or `judgements of polite`."""
        with self._lock:
            self.waits_for = ""
            self._divide()
            count = _Count(what, total, time.monotonic())
            self._running.append(count)
            self._show()
            self.wrote = self.logged = count.began
            self._write()
        try:
            yield self
        finally:
            with self._lock:
                self._divide()
                self._running.remove(count)
                if self._running:
                    self._show()
                    self._write()
                spent = self.spent.setdefault(what, {"count": 0, "seconds": 0.0})
                spent["count"] += count.done
                spent["seconds"] = round(spent["seconds"] + count.seconds, 3)

    def advance(self, n: int, what: str = "") -> None:
        """Count `n` more items called `what`; by default of the newest count."""
        with self._lock:
            named = [count for count in self._running if what in ("", count.what)]
            named[-1].done += n
            now, report = time.monotonic(), self.report()
            if now - self.wrote >= FILE_EVERY or report.done >= report.total:
                self.wrote = now
                self._write()
            if now - self.logged >= LINE_EVERY or report.done >= report.total:
                self.logged = now
                where = f"{self.stage}, {self.within}" if self.within else self.stage
                log.info("%s: %d/%d %s, %.1f/s", where, report.done, report.total, report.what, report.rate)

    def wait_for(self, holder: str) -> None:
        """Report that the stage waits for another process, until counting begins."""
        if holder != self.waits_for:
            log.warning("%s: waiting for %s", self.stage, holder)
        self.waits_for = holder
        self._write()

    def report(self) -> StageProgress:
        """Of what was begun last; counts of the same kind that run together are added up."""
        shown = self._shown
        first, *more = (count.what for count in shown)
        what = ", ".join([first, *(name.partition(" of ")[2] or name for name in more)])
        done, total = sum(count.done for count in shown), sum(count.total for count in shown)
        seconds = time.monotonic() - min(count.began for count in shown)
        return StageProgress(self.stage, what, done, total, seconds, self.waits_for, self.within)

    def _show(self) -> None:
        self._shown = [count for count in self._running if kind_of(count.what) == kind_of(self._running[-1].what)]

    def _divide(self) -> None:
        """Divide the time since the last change among the counts that run."""
        now = time.monotonic()
        for count in self._running:
            count.seconds += (now - self._divided) / len(self._running)
        self._divided = now

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


def read_progress(folder: Path, run: str = "*") -> list[StageProgress]:
    """The progress of all running stages, in one run or in all, from the files in `folder`."""
    reports = []
    for path in sorted(folder.glob(f"*.{run}.json")):
        try:
            stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            continue  # the stage has just ended or is writing
        reports.append(StageProgress(**stored))
    return reports
