"""A real dagster-daemon on the tiny campaign: it notices an edit, runs once, keeps the schedule, and retrains."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from dagster._core.scheduler.instigation import InstigatorTick
from mlflow import MlflowClient
from mlflow.entities import Run

from rft_pipeline import champions
from rft_pipeline.cli import dagster_home
from rft_pipeline.cycles import newest
from rft_pipeline.store import Home, RecordStore
from tests.assets.small import instance
from tests.logs.test_cycle import log, set_up
from tests.runs import edit

ROOT = Path(__file__).parents[2]
PATIENCE = 900
"""Seconds a run may take on a busy machine."""


@contextmanager
def daemon() -> Iterator[None]:
    """`dagster-daemon run` on the project's workspace, until the block ends."""
    home = Home.find()
    environment = {**os.environ, **dagster_home.prepare(home)}
    with instance():  # the first to open it creates tables, and only one may
        pass
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


def test_a_good_cycle_is_promoted_a_bad_one_that_starts_from_it_is_not_and_between_them_is_rest(
    tiny_campaign: Path,
) -> None:
    """The first cycle learns the replies that the logs give as references; the second's learning rate ruins them."""
    learn_to_apologise(tiny_campaign)
    set_up(tiny_campaign, cron="* * * * *")
    log(tiny_campaign, "monday", reference="We are very sorry.")
    home = Home.find()

    def rests(cycle: int) -> Callable[[], bool]:
        nothing = f"nothing new in {tiny_campaign / 'logs/*.jsonl'} since cycle {cycle}"
        return lambda: [tick.skip_reason for tick in ticks_of("tiny_retrain")][:1] == [nothing]

    with daemon():
        wait_for(finished(rft__cycle="1"))
        champion = champions.champion(home.root, "tiny")
        assert champion is not None
        wait_for(rests(1))
        edit(tiny_campaign / "campaign.yaml", "training.learning_rate", 1.0)
        log(tiny_campaign, "tuesday", reference="We are very sorry.")
        wait_for(finished(rft__cycle="2"))
        wait_for(rests(2))

    (first,), (second,) = runs(rft__cycle="1"), runs(rft__cycle="2")
    assert (first.tags["rft/champion"], first.tags["rft/promoted"]) == ("none", "round 1")
    assert (second.tags["rft/champion"], second.tags["rft/promoted"]) == (champion.record, "none")
    assert first.tags["rft/reason"] == "retraining, cycle 1: 8 new and 0 old prompts of 12 logged rows"
    assert second.tags["rft/reason"] == "retraining, cycle 2: 6 new and 2 old prompts of 24 logged rows"
    assert champions.history(home.root, "tiny") == (champion,)
    policy, decided = (RecordStore(home.store).current(f"tiny/{name}") for name in ("policy", "promotion"))
    assert policy is not None
    assert (policy.content_hash, policy.dagster_run_id) == (champion.content_hash, second.run_id)
    assert decided is not None
    cycle = newest(home, "tiny")
    assert cycle is not None
    outcome = json.loads((cycle.folder / "outcome.json").read_text(encoding="utf-8"))
    assert (outcome["promoted"], outcome["promotion"]) == ("none", decided.address)
    assert outcome["said"].startswith("no round is promoted over the champion. Round 1: reward -0.")
    in_mlflow = [" ".join(run.info.run_name.split(" ")[:3]) for run in mlflow_runs(home)]
    assert in_mlflow == ["tiny cycle 1", "cycle 1 round", "tiny cycle 2", "cycle 2 round"]


def learn_to_apologise(folder: Path) -> None:
    """One round that imitates references, and a rubric for which "We are very sorry." is perfect."""
    patterns = {"apologises": "sorry", "plain_text": "^[ -~]*$"}
    rules = [
        {"name": name, "judge": {"protocol": "rule", "rule": {"name": "regex", "pattern": pattern}}}
        for name, pattern in patterns.items()
    ]
    edit(folder / "rubric.yaml", "criteria", rules)
    for where, value in {"rounds": 1, "training.method": "sft", "training.epochs": 10}.items():
        edit(folder / "campaign.yaml", where, value)
    edit(folder / "campaign.yaml", "training.learning_rate", 1e-2)


def mlflow_runs(home: Home) -> list[Run]:
    client = MlflowClient(tracking_uri=home.mlflow_uri)
    experiment = client.get_experiment_by_name("tiny")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"]))
