"""A real dagster-daemon on the finished tiny campaign: it notices an edit, runs once, and keeps the schedule."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from rft_pipeline.cli import dagster_home
from rft_pipeline.store import Home, RecordStore
from tests.assets.small import instance
from tests.runs import edit

ROOT = Path(__file__).parents[2]
PATIENCE = 240
"""Seconds a run may take on a busy machine."""


@contextmanager
def daemon() -> Iterator[None]:
    """`dagster-daemon run` on the project's workspace, until the block ends."""
    home = Home.find()
    environment = {**os.environ, **dagster_home.prepare(home)}
    with (home.dagster / "daemon.log").open("ab") as log:
        running = subprocess.Popen(
            [sys.executable, "-m", "dagster._daemon", "run", "-w", "workspace.yaml"],
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
    command = [sys.executable, "-m", "dagster", "sensor", "start", "tiny_changes", "-w", "workspace.yaml"]
    environment = {**os.environ, **dagster_home.prepare(Home.find())}
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)


def runs(**tags: str) -> list[dg.DagsterRun]:
    with instance() as found:
        return list(found.get_runs(dg.RunsFilter(tags={key.replace("__", "/"): value for key, value in tags.items()})))


def ticks() -> int:
    """How often the sensor has looked."""
    with instance() as found:
        return sum(
            len(found.get_ticks(state.instigator_origin_id, state.selector_id))
            for state in found.all_instigator_state()
            if state.name == "tiny_changes"
        )


def wait_for(seen: Callable[[], bool]) -> None:
    began = time.monotonic()
    while not seen():
        log = Home.find().dagster / "daemon.log"
        assert time.monotonic() - began < PATIENCE, log.read_text(encoding="utf-8")[-3000:]
        time.sleep(1)


def finished(**tags: str) -> Callable[[], bool]:
    return lambda: [run.status for run in runs(**tags)] == [dg.DagsterRunStatus.SUCCESS]


def the_first_is_finished(**tags: str) -> Callable[[], bool]:
    return lambda: any(run.status == dg.DagsterRunStatus.SUCCESS for run in runs(**tags)[-1:])


def test_an_edit_is_run_once_also_after_the_daemon_was_stopped(finished_copy: Path) -> None:
    start_sensor()
    with daemon():
        wait_for(lambda: ticks() >= 1)
        edit(finished_copy / "rubric.yaml", "criteria.2.judge.rule.min_words", 5)
        wait_for(finished(rft__reason="rubric changed"))
    made = {
        name: record.rows["made"]
        for name in ("round_2/rollouts", "round_2/judge_scores")
        if (record := RecordStore(Home.find().store).current(f"tiny/{name}")) is not None
    }
    assert made == {"round_2/rollouts": 16, "round_2/judge_scores": 16}

    looked = ticks()
    with daemon():
        wait_for(lambda: ticks() >= looked + 1)
    assert len(runs(rft__reason="rubric changed")) == 1


def test_a_schedule_runs_what_is_to_be_made(finished_copy: Path) -> None:
    edit(finished_copy / "campaign.yaml", "schedule", {"cron": "* * * * *"})
    edit(finished_copy / "campaign.yaml", "evaluation.resamples", 200)
    with daemon():
        wait_for(the_first_is_finished(rft__reason="scheduled"))
