"""A round in generations in Dagster: four assets with records, metadata and checks of their own, made by one step."""

from pathlib import Path

import dagster as dg

from rft_pipeline.campaign import load_campaign
from rft_pipeline.stages.graph import nodes
from rft_pipeline.store import Home, RecordStore
from tests.assets.small import instance, left_behind, materialize
from tests.runs import edit

ROUND = [f"tiny/round_1/{stage}" for stage in ("rollouts", "judge_scores", "reward_batches", "checkpoints")]
SOURCES = ["tiny/prompts", "tiny/rubric", "tiny/policy"]
CURVES = {
    "rollouts": {"plot of length mean by generation", "plot of truncated share by generation"},
    "judge_scores": {"plot of scores by generation"},
    "reward_batches": {"plot of scores by generation", "plot of groups used share by generation"},
    "checkpoints": {
        "plot of loss by generation",
        "plot of clip ratio by generation",
        "plot of effective share by generation",
    },
}


def steps(result: dg.ExecuteInProcessResult) -> list[str]:
    return [str(event.step_key) for event in result.all_events if event.event_type_value == "STEP_SUCCESS"]


def test_one_step_makes_the_four_assets_of_a_round(on_policy: Path) -> None:
    edit(on_policy / "campaign.yaml", "rounds", 1)
    result = materialize(on_policy)
    assert result.success
    assert "tiny__round_1" in steps(result)
    assert not [step for step in steps(result) if step.endswith("rollouts")]
    records = RecordStore(Home.find().store)
    with instance() as running:
        for node in nodes(load_campaign(on_policy)):
            made = records.current(node.key)
            event = running.get_latest_materialization_event(dg.AssetKey(node.key.split("/")))
            assert made is not None
            assert event is not None
            assert event.asset_materialization is not None
            shown = event.asset_materialization
            assert shown.tags is not None
            assert shown.tags["dagster/data_version"] == made.content_hash
            assert CURVES.get(node.stage, set()) <= shown.metadata.keys()
    assert left_behind() == []


def test_every_check_of_the_round_is_evaluated(on_policy: Path) -> None:
    assert materialize(on_policy, SOURCES).success
    result = materialize(on_policy, ROUND)
    assert result.success
    checked = {(each.asset_key.path[-1], each.check_name) for each in result.get_asset_check_evaluations()}
    assert {
        ("rollouts", "truncation_share"),
        ("reward_batches", "groups_with_variance"),
        ("checkpoints", "finite"),
    } <= (checked)


def test_a_selection_of_one_makes_the_round_and_shows_that_one(on_policy: Path) -> None:
    assert materialize(on_policy, SOURCES).success
    result = materialize(on_policy, ROUND[1:2])
    assert result.success
    shown = [event.asset_key.to_user_string() for event in result.get_asset_materialization_events() if event.asset_key]
    assert shown == ROUND[1:2]
    again = materialize(on_policy, ROUND)
    with instance() as running:
        for key in ROUND:
            event = running.get_latest_materialization_event(dg.AssetKey(key.split("/")))
            assert event is not None
            assert event.asset_materialization is not None
            assert event.asset_materialization.metadata["cached"].value is True
    assert again.success


def test_a_round_without_differences_fails_in_its_step_and_nothing_downstream_runs(on_policy: Path) -> None:
    rule = {"protocol": "rule", "rule": {"name": "length", "min_words": 0}}
    edit(on_policy / "rubric.yaml", "criteria", [{"name": "always", "judge": rule}])
    edit(on_policy / "campaign.yaml", "reward.min_group_share", 1.0)
    result = materialize(on_policy)
    assert not result.success
    assert "tiny__round_1" not in steps(result)
    assert not [step for step in steps(result) if step.startswith("tiny__round_")]
