"""Leases: locks in an object store that end with the machine that holds them.

A lease is a small file that its holder writes again every few seconds, so a machine that waits sees its content change.
If it does not change for `LEASE_SECONDS`, by the clock of the machine that waits, that machine may take it over. Every
write names the version that it replaces: of two machines one gets the lease, and a holder learns that it lost it.

Before a process writes to the object store it calls `require_leases`, which fails once one of its leases may be lost.
"""

import json
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rft_pipeline.errors import StoreError

if TYPE_CHECKING:
    from rft_pipeline.store.places import Bucket, File

LEASE_SECONDS = 60.0
"""A lease that nobody renewed for so long may be taken over."""
RENEWALS = 4
"""Renewals within `LEASE_SECONDS`."""
RETRY_SECONDS = 1.0
FREE: dict[str, str] = {"holder": ""}

_held: list["_Lease"] = []
"""The leases of this process."""


class LeaseTakenError(Exception):
    """Another machine holds the lease."""


@contextmanager
def lease(
    bucket: "Bucket", name: str, machine: str, holder: str, wait_for: Callable[[str], None] | None
) -> Iterator[None]:
    """Hold a lease. While another machine holds it, call `wait_for` with its holder every second; without `wait_for`,
    raise `LeaseTakenError`.

    `machine` names the home that the process works in, whose own lock it holds already: a lease of the same machine is
    that of a process that ended.
    """
    found = _Lease(bucket, name, {"holder": holder, "machine": machine, "owner": uuid.uuid4().hex})
    found.acquire(wait_for)
    _held.append(found)
    try:
        yield
    finally:
        _held.remove(found)
        found.release()


def require_leases() -> None:
    """Raise `StoreError` if a lease of this process may be lost."""
    for each in list(_held):
        if each.process == os.getpid():  # a fork must not renew its parent's lease
            each.require()


def holder_of(bucket: "Bucket", name: str) -> str | None:
    """Who holds a lease, or held it when its machine stopped; None if nobody does."""
    found = bucket.get(name)
    return None if found is None else str(json.loads(found.content)["holder"]) or None


class _Lease:
    def __init__(self, bucket: "Bucket", name: str, about: dict[str, str]) -> None:
        self.process = os.getpid()
        self._bucket = bucket
        self._name = name
        self._about = about
        self._file: File | None = None
        self._renewed = 0.0
        """When this process last began a renewal that succeeded."""
        self._ended = threading.Event()
        self._writing = threading.Lock()
        self._thread = threading.Thread(target=self._renew_until_released, name=f"lease {name}", daemon=True)

    def acquire(self, wait_for: Callable[[str], None] | None) -> None:
        seen, since = self._bucket.get(self._name), time.monotonic()
        while not self._take(seen, time.monotonic() - since):
            now = self._bucket.get(self._name)
            if now != seen:
                seen, since = now, time.monotonic()
                if self._is_free(seen):
                    continue
            if wait_for is None:
                raise LeaseTakenError(self._name)
            wait_for("another machine" if seen is None else json.loads(seen.content)["holder"])
            time.sleep(RETRY_SECONDS)
        self._thread.start()

    def _take(self, seen: "File | None", unchanged: float) -> bool:
        return (self._is_free(seen) or unchanged > LEASE_SECONDS) and self._write(seen)

    def _is_free(self, seen: "File | None") -> bool:
        if seen is None:
            return True
        about = json.loads(seen.content)
        return not about["holder"] or about["machine"] == self._about["machine"]

    def _write(self, old: "File | None") -> bool:
        began = time.monotonic()
        renewed = datetime.now(UTC).isoformat(timespec="milliseconds")
        content = json.dumps(self._about | {"renewed": renewed, "turn": uuid.uuid4().hex})
        found = self._bucket.replace(self._name, content.encode(), old)
        if found is not None:
            self._file, self._renewed = found, began
        return found is not None

    def _renew_until_released(self) -> None:
        while not self._ended.wait(LEASE_SECONDS / RENEWALS):
            try:
                with self._writing:
                    if self._ended.is_set() or not self._write(self._file):
                        return  # lost: `require` finds out
            except StoreError:
                continue  # the network may be back before the lease ends

    def require(self) -> None:
        """Raise `StoreError` unless the lease was renewed a short time ago or can be renewed now."""
        with self._writing:
            if time.monotonic() - self._renewed < LEASE_SECONDS / 2:
                return
            if not self._write(self._file):
                raise StoreError(
                    f"{self._bucket}/{self._name}: another machine took the lock over, because this process did not "
                    f"renew it for {LEASE_SECONDS:.0f} s; run the stage again"
                )

    def release(self) -> None:
        """Free the lease. Without the network it stays until another machine takes it over."""
        with self._writing:
            self._ended.set()
            with suppress(StoreError):
                self._bucket.replace(self._name, json.dumps(FREE | {"turn": uuid.uuid4().hex}).encode(), self._file)
        self._thread.join()
