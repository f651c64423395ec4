"""One process at a time makes a stage, and whoever waits for it can say for whom."""

import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

LOCK, HOLDER = ".lock", ".holder.json"
LOOK_EVERY = 1.0
"""Seconds between two looks at who holds the lock: the holder may change while others wait."""


@dataclass(frozen=True)
class Holder:
    """Who holds a lock."""

    run: str | None
    """Dagster's run id."""
    pid: int
    host: str
    since: str

    def __str__(self) -> str:
        since = datetime.fromisoformat(self.since).astimezone()
        process = f"process {self.pid} on {self.host}"
        who = f"run {self.run[:8]} ({process})" if self.run else process
        return f"{who}, at it since {since:%Y-%m-%d %H:%M:%S}"


@contextmanager
def held(folder: Path, run: str | None, wait_for: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of a folder; while another process does, call `wait_for` with who that is every second.

    The lock dies with its process. What a killed holder wrote about itself stays until the next one writes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    about = folder / HOLDER
    lock = FileLock(folder / LOCK)
    _acquire(lock, lambda: wait_for(_named(about)))
    try:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        beside = about.with_suffix(".tmp")
        beside.write_text(json.dumps(asdict(Holder(run, os.getpid(), socket.gethostname(), now))), encoding="utf-8")
        beside.replace(about)
        yield
    finally:
        about.unlink(missing_ok=True)
        lock.release()


@contextmanager
def held_if_idle(folder: Path) -> Iterator[bool]:
    """Hold the lock of a folder unless another process does; yields whether it is held."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _acquire(lock: FileLock, meanwhile: Callable[[], None]) -> None:
    patience = 0.0
    while True:
        try:
            lock.acquire(timeout=patience)
        except Timeout:
            meanwhile()
            patience = LOOK_EVERY
        else:
            return


def _named(about: Path) -> str:
    try:
        return str(Holder(**json.loads(about.read_text(encoding="utf-8"))))
    except FileNotFoundError:
        return "another process"  # which took or left the lock this very moment
