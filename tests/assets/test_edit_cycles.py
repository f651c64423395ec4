"""After an edit, the sensor and the UI make what `rft plan` says: the reports of what stands, then an edit cycle."""

from pathlib import Path

import pytest

from rft_pipeline.campaign import load_campaign
from rft_pipeline.campaign.cycles import contexts, load_current
from rft_pipeline.pipeline import Pipeline
from rft_pipeline.pipeline.continuing import standing
from rft_pipeline.pipeline.edit_plan import plan_edit
from rft_pipeline.stages.graph import nodes
from rft_pipeline.store import Home, Record, RecordStore
from tests.assets.small import materialize
from tests.assets.test_automation import launched, look
from tests.planted import replies_planted
from tests.runs import copy_home, edit

REPORTS = {
    f"tiny/{name}" for name in ("prompts", "rubric", "policy", "labels", "round_1/eval_reports", "round_2/eval_reports")
}
ROUND = {f"tiny/round_1/{s}" for s in ("rollouts", "judge_scores", "reward_batches", "checkpoints", "eval_reports")}
CYCLE = {f"tiny/{name}" for name in ("prompts", "rubric", "policy", "labels", "promotion")} | ROUND


@pytest.fixture(scope="module")
def trained_once(on_policy_once: Path, tiny_model: Path) -> Path:
    with replies_planted(tiny_model):
        assert materialize(on_policy_once).success
    return on_policy_once


@pytest.fixture
def trained(trained_once: Path, on_policy: Path) -> Path:
    """The tiny campaign with two rounds in generations, materialized; round 1 is the champion."""
    copy_home(trained_once)
    return on_policy


def current(name: str) -> Record:
    found = RecordStore(Home.find().store).current(f"tiny/{name}")
    assert found is not None
    return found


def test_the_sensor_runs_the_reports_first_and_then_the_edit_cycle(trained: Path) -> None:
    before = look(None)
    assert launched(before) == []
    edit(trained / "rubric.yaml", "criteria.0.weight", 3.0)
    first = look(before.cursor)
    assert launched(first) == [("rubric changed", REPORTS)]
    assert contexts(load_campaign(trained), Home.find()) == []
    assert materialize(trained, sorted(REPORTS)).success
    second = look(first.cursor)
    assert launched(second) == [('edit cycle 1: criterion "polite": weight 1 → 3', CYCLE)]
    planned = [node.key for node in nodes(load_current(Home.find(), "tiny"))]
    assert set(planned) == CYCLE
    assert launched(look(second.cursor)) == []


def test_an_audit_alone_hides_no_edit_from_the_sensor(trained: Path) -> None:
    before = look(None)
    edit(trained / "rubric.yaml", "criteria.0.weight", 3.0)
    Pipeline(Home.find()).run(load_campaign(trained), "rubric")  # `rft audit` makes it too
    assert launched(look(before.cursor)) == [("rubric changed", REPORTS)]


def test_reports_that_could_not_be_made_begin_no_cycle(trained: Path) -> None:
    before = look(None)
    edit(trained / "rubric.yaml", "criteria.0.weight", 3.0)
    first = look(before.cursor)
    second = look(first.cursor)
    assert launched(second) == []
    assert second.skip_message == "the reports that come before the edit cycle were not made"
    assert contexts(load_campaign(trained), Home.find()) == []


def test_what_is_materialized_in_the_ui_continues_from_the_champion_and_keeps_later_rounds(trained: Path) -> None:
    champion, second_round = current("round_1/checkpoints"), current("round_2/checkpoints")
    edit(trained / "rubric.yaml", "criteria.0.weight", 3.0)
    assert plan_edit(standing(load_campaign(trained), Home.find()), Home.find()) is not None
    assert materialize(trained).success
    (cycle,) = contexts(load_campaign(trained), Home.find())
    assert cycle.policy is not None
    assert cycle.policy.address == champion.address
    assert current("policy").content_hash == champion.content_hash
    assert current("round_1/rollouts").payload["settings"]["continuation"]["start"] == champion.content_hash
    assert current("round_2/checkpoints").address == second_round.address
    assert plan_edit(standing(load_campaign(trained), Home.find()), Home.find()) is None
