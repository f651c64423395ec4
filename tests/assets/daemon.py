"""A real dagster-daemon on the tiny campaign, and what it did."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from dagster._core.scheduler.instigation import InstigatorTick

from rft_pipeline.runs import dagster_home
from rft_pipeline.store import Home
from tests.assets.small import instance

ROOT = Path(__file__).parents[2]
PATIENCE = 900
"""Seconds a run may take on a busy machine."""
PROJECT = ("-w", "workspace.yaml")
QUICK = ("-m", "tests.assets.quick_definitions", "-d", str(ROOT))
"""The code location whose sensors look often."""


@contextmanager
def daemon(where: Sequence[str] = PROJECT) -> Iterator[None]:
    """`dagster-daemon run` on a code location, until the block ends."""
    home = Home.find()
    environment = {**os.environ, **dagster_home.prepare(home)}
    with instance():  # the first to open it creates tables, and only one may
        pass
    with (home.dagster / "daemon.log").open("ab") as log:
        running = subprocess.Popen(
            [sys.executable, "-m", "dagster._daemon", "run", *where],
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=log,
        )
        try:
            yield
        finally:
            running.terminate()
            running.wait()


def start_sensor() -> None:
    """Switch the sensor of the tiny campaign on, in the code location that looks often."""
    command = [sys.executable, "-m", "dagster", "sensor", "start", "tiny_changes", *QUICK]
    environment = {**os.environ, **dagster_home.prepare(Home.find())}
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)


def runs(**tags: str) -> list[dg.DagsterRun]:
    """Those with these tags, e.g. `rft__cycle="1"` for `rft/cycle`, newest first."""
    with instance() as found:
        return list(found.get_runs(dg.RunsFilter(tags={key.replace("__", "/"): value for key, value in tags.items()})))


def ticks() -> int:
    """How often the sensor has looked."""
    return len(ticks_of("tiny_changes"))


def ticks_of(name: str) -> list[InstigatorTick]:
    """What a sensor or schedule did, newest first."""
    with instance() as found:
        return [
            tick
            for state in found.all_instigator_state()
            if state.name == name
            for tick in found.get_ticks(state.instigator_origin_id, state.selector_id)
        ]


def wait_for(seen: Callable[[], bool]) -> None:
    """Until it is seen; what the daemon logged is the error when that takes too long."""
    began = time.monotonic()
    while not seen():
        log = Home.find().dagster / "daemon.log"
        assert time.monotonic() - began < PATIENCE, log.read_text(encoding="utf-8")[-3000:]
        time.sleep(2)  # each look opens the instance anew


def finished(**tags: str) -> Callable[[], bool]:
    return lambda: [run.status for run in runs(**tags)] == [dg.DagsterRunStatus.SUCCESS]


def the_first_is_finished(**tags: str) -> Callable[[], bool]:
    return lambda: any(run.status == dg.DagsterRunStatus.SUCCESS for run in runs(**tags)[-1:])
