"""Leases in a real S3 server, by a clock that only waiting moves."""

import json
import threading
from collections.abc import Iterator

import pytest

from rft_pipeline.errors import StoreError
from rft_pipeline.store import lease as leases
from rft_pipeline.store.lease import LEASE_SECONDS, LeaseTakenError, _Lease, holder_of, lease, require_leases
from rft_pipeline.store.places import Bucket
from tests.buckets import s3_server

NAME = "locks/store/tiny/rollouts.json"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    with s3_server():
        yield Bucket("s3://rft/leases")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(leases, "time", clock)
    return clock


def held(bucket: Bucket, machine: str) -> _Lease:
    """A lease that a process holds and does not renew by itself while a test runs."""
    found = _Lease(bucket, NAME, {"holder": f"process 1 on {machine}", "machine": machine, "owner": machine})
    found.acquire(None)
    return found


def dead(bucket: Bucket) -> None:
    """A lease of a process of machine `a` that was killed."""
    about = {"holder": "process 7 on a", "machine": "a", "owner": "dead"}
    assert bucket.replace(NAME, json.dumps(about).encode(), bucket.get(NAME))


def test_a_lease_is_free_before_and_after(bucket: Bucket) -> None:
    assert holder_of(bucket, NAME) is None
    with lease(bucket, NAME, "a", "process 1 on a", None):
        require_leases()
        assert holder_of(bucket, NAME) == "process 1 on a"
        with pytest.raises(LeaseTakenError), lease(bucket, NAME, "b", "process 2 on b", None):
            pass
    assert holder_of(bucket, NAME) is None


def test_one_of_many_machines_holds_a_lease_at_a_time(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "RETRY_SECONDS", 0.01)
    inside: list[str] = []
    seen: list[list[str]] = []

    def enter(machine: str) -> None:
        with lease(bucket, NAME, machine, machine, lambda holder: None):
            inside.append(machine)
            bucket.get(NAME)  # others run meanwhile
            seen.append(list(inside))
            inside.remove(machine)

    threads = [threading.Thread(target=enter, args=(str(number),)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == [[str(number)] for number in range(5)]


def test_a_holder_that_renews_its_lease_keeps_it_however_long_others_wait(bucket: Bucket, clock: Clock) -> None:
    living = held(bucket, "a")
    waited: list[str] = []

    def wait(holder: str) -> None:
        waited.append(holder)
        if clock.now % (LEASE_SECONDS / 2) == 0:
            living.require()
        if clock.now > 5 * LEASE_SECONDS:
            living.release()

    with lease(bucket, NAME, "b", "process 2 on b", wait):
        assert clock.now > 5 * LEASE_SECONDS
    assert set(waited) == {"process 1 on a"}


def test_the_lease_of_a_dead_machine_is_taken_over_after_its_time(bucket: Bucket, clock: Clock) -> None:
    dead(bucket)
    waited: list[str] = []
    with lease(bucket, NAME, "b", "process 2 on b", waited.append):
        assert LEASE_SECONDS < clock.now < LEASE_SECONDS + 3
    assert set(waited) == {"process 7 on a"}


def test_the_same_machine_takes_the_lease_of_its_killed_process_at_once(bucket: Bucket) -> None:
    dead(bucket)
    with lease(bucket, NAME, "a", "process 2 on a", None):
        assert holder_of(bucket, NAME) == "process 2 on a"


def test_who_lost_a_lease_learns_it_before_it_writes(bucket: Bucket, clock: Clock) -> None:
    suspended = held(bucket, "a")
    with lease(bucket, NAME, "b", "process 2 on b", lambda holder: None):
        with pytest.raises(StoreError, match="another machine took the lock over"):
            suspended.require()
        suspended.release()
        assert holder_of(bucket, NAME) == "process 2 on b"
        require_leases()
