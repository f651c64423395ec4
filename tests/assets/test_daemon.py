"""A real dagster-daemon on the finished tiny campaign: it notices an edit, runs once, and keeps the schedule."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from dagster._core.scheduler.instigation import InstigatorTick

from rft_pipeline.cli import dagster_home
from rft_pipeline.store import Home, RecordStore
from tests.assets.small import instance
from tests.logs.test_cycle import log, set_up
from tests.promoted import promote
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


def test_two_cycles_each_from_the_champion_before_and_rest_between(finished_copy: Path) -> None:
    """After the first cycle its round is promoted, as the promotion at its end would."""
    records = RecordStore(Home.find().store)
    edit(finished_copy / "campaign.yaml", "rounds", 1)
    set_up(finished_copy, cron="* * * * *")
    log(finished_copy, "monday")
    before_all = promote("tiny/round_1/checkpoints")

    def rests(cycle: int) -> Callable[[], bool]:
        nothing = f"nothing new in {finished_copy / 'logs/*.jsonl'} since cycle {cycle}; every stage is up to date"
        return lambda: [tick.skip_reason for tick in ticks_of("tiny_retrain")][:1] == [nothing]

    with daemon():
        wait_for(finished(rft__cycle="1"))
        made_by_the_first = promote("tiny/round_1/checkpoints")
        wait_for(rests(1))
        log(finished_copy, "tuesday")
        wait_for(finished(rft__cycle="2"))
        wait_for(rests(2))

    (first,), (second,) = runs(rft__cycle="1"), runs(rft__cycle="2")
    assert (first.tags["rft/champion"], second.tags["rft/champion"]) == (before_all, made_by_the_first)
    policy, champion = records.current("tiny/policy"), records.at(made_by_the_first)
    assert policy is not None
    assert champion is not None
    assert policy.content_hash == champion.content_hash
    assert policy.dagster_run_id == second.run_id
    assert champion.dagster_run_id == first.run_id
    prompts = records.current("tiny/prompts")
    assert prompts is not None
    assert prompts.rows["train"] == 8
