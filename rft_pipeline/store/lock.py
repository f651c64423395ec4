"""Locks: one process at a time runs a stage; waiting processes can show the holder.

On one machine a lock is a locked file. In a store that machines share, its holder takes a lease in the bucket too, and
what the others wrote is fetched before it goes on.
"""

import json
import logging
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from rft_pipeline.files import replace_text
from rft_pipeline.store.bucket_copy import LOCKS, BucketCopy
from rft_pipeline.store.lease import LeaseTakenError, holder_of, lease
from rft_pipeline.store.shared import shared_by

log = logging.getLogger(__name__)

LOCK, HOLDER = ".lock", ".holder.json"
RETRY_SECONDS = 1.0
"""Interval between attempts; the holder may change while others wait."""


@dataclass(frozen=True)
class Holder:
    """The process that holds a lock."""

    run: str | None
    """Dagster's run id."""
    pid: int
    host: str
    since: str

    def __str__(self) -> str:
        since = datetime.fromisoformat(self.since).astimezone()
        process = f"process {self.pid} on {self.host}"
        who = f"run {self.run[:8]} ({process})" if self.run else process
        return f"{who}, running since {since:%Y-%m-%d %H:%M:%S}"


@contextmanager
def held(folder: Path, run: str | None, wait_for: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of a folder. While another process holds it, call `wait_for` with that process every second.

    The lock ends with its process. The entry of a killed holder stays until the next holder replaces it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    about = folder / HOLDER
    lock = FileLock(folder / LOCK)
    _acquire(lock, lambda: wait_for(_holder(about)))
    try:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        holder = Holder(run, os.getpid(), socket.gethostname(), now)
        replace_text(about, json.dumps(asdict(holder)))
        with _leased(folder, str(holder), wait_for):
            yield
    finally:
        about.unlink(missing_ok=True)
        lock.release()


@contextmanager
def alone(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold the lock of a path, whose file is next to it. Raises `Timeout` while another process holds it, unless it
    should `wait`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    holder = f"process {os.getpid()} on {socket.gethostname()}"
    with FileLock(f"{path}{LOCK}", blocking=wait), _leased(path, holder, log.warning if wait else None):
        yield


@contextmanager
def held_if_idle(folder: Path) -> Iterator[bool]:
    """Hold the lock of a folder unless another process holds it; yields whether it is held. In a shared store, other
    machines are only looked at."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        yield False
        return
    try:
        shared = shared_by(folder)
        yield shared is None or holder_of(shared.bucket, _lease_name(shared, folder)) is None
    finally:
        lock.release()


@contextmanager
def _leased(path: Path, holder: str, wait_for: Callable[[str], None] | None) -> Iterator[None]:
    """Hold the lease of a path in a shared store. Call while holding the lock on this machine."""
    if (shared := shared_by(path)) is None:
        yield
        return
    try:
        with lease(shared.bucket, _lease_name(shared, path), shared.machine, holder, wait_for):
            shared.refresh()
            yield
    except LeaseTakenError as error:
        raise Timeout(str(path)) from error


def _lease_name(shared: BucketCopy, path: Path) -> str:
    return f"{LOCKS}/{shared.name(path)}.json"


def _acquire(lock: FileLock, on_wait: Callable[[], None]) -> None:
    timeout = 0.0
    while True:
        try:
            lock.acquire(timeout=timeout)
        except Timeout:
            on_wait()
            timeout = RETRY_SECONDS
        else:
            return


def _holder(about: Path) -> str:
    try:
        return str(Holder(**json.loads(about.read_text(encoding="utf-8"))))
    except FileNotFoundError:
        return "another process"  # it just took or released the lock
