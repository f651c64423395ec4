"""A real dagster-daemon retrains the tiny campaign on what was logged; the second cycle runs in the test's process."""

import json
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from assets.definitions import definitions
from rft_pipeline.campaign.cycles import newest
from rft_pipeline.store import Home, RecordStore, champions
from tests.assets.daemon import daemon, finished, runs, ticks_of, wait_for
from tests.assets.small import instance
from tests.prompts.test_cycle import log, set_up
from tests.runs import edit

pytestmark = pytest.mark.waits


def test_a_good_cycle_is_promoted_and_one_that_gains_too_little_is_not(
    tiny_campaign: Path,
) -> None:
    """Each cycle learns the replies that its logs give as references: the first an apology, the second a refusal."""
    learn_to_apologise(tiny_campaign)
    set_up(tiny_campaign, cron="* * * * *")
    log(tiny_campaign, "monday", reference="We are very sorry.")
    home = Home.find()

    with daemon():
        wait_for(finished(rft__cycle="1"))
        nothing = f"nothing new in {tiny_campaign / 'logs/*.jsonl'} since cycle 1"
        wait_for(lambda: [tick.skip_reason for tick in ticks_of("tiny_retrain")][:1] == [nothing])
    champion = champions.champion(home.root, "tiny")
    assert champion is not None
    edit(tiny_campaign / "campaign.yaml", "promotion.margin", 0.5)  # more than is left above the champion
    log(tiny_campaign, "tuesday", reference="No.")
    run_what_the_schedule_asks_for()

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
    assert outcome["decision"].startswith("no round is promoted over the champion (start). Round 1: reward ")
    assert "the lower bound must be above +0.5 and is" in outcome["decision"]
    in_mlflow = [" ".join(run.info.run_name.split(" ")[:4]) for run in mlflow_runs(home)]
    assert in_mlflow == ["tiny · cycle 1", "cycle 1 round 1", "tiny · cycle 2", "cycle 2 round 1"]


def run_what_the_schedule_asks_for() -> None:
    """The next cycle, in this process."""
    found = definitions(Home.find())
    with instance() as running, dg.build_schedule_context(running, datetime.now(UTC)) as context:
        (request,) = found.resolve_schedule_def("tiny_retrain").evaluate_tick(context).run_requests or []
        assert (
            found.resolve_job_def("tiny")
            .execute_in_process(
                instance=running,
                tags=dict(request.tags),
                asset_selection=list(request.asset_selection or ()),
                run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            )
            .success
        )


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
