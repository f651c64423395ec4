"""What Dagster itself calls unsynced after an edit, and that materializing just that is enough."""

from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.definitions.sensor_definition import SensorExecutionData
from dagster._core.loader import LoadingContextForTest

from assets.definitions import definitions
from rft_pipeline.campaign import load_campaign
from rft_pipeline.pipeline.champion import promote
from rft_pipeline.store import Home
from tests.assets.small import instance, materialize
from tests.promotion.small import started_from_champion
from tests.runs import edit

ROUND_1 = ("rollouts", "judge_scores", "reward_batches", "checkpoints", "eval_reports")
ROUND_2 = {f"round_2/{stage}" for stage in ROUND_1}


def unsynced() -> set[str]:
    """The assets that "Materialize unsynced" would launch once the definitions are loaded again."""
    graph = definitions(Home.find()).resolve_asset_graph()
    with instance() as running:
        resolver = CachingStaleStatusResolver(running, graph, LoadingContextForTest(running))
        return {
            key.to_user_string().removeprefix("tiny/")
            for key in graph.get_all_asset_keys()
            if resolver.get_status(key) != StaleStatus.FRESH
        }


def test_a_finished_campaign_is_in_sync(finished_home: Path) -> None:
    assert unsynced() == set()


@pytest.mark.parametrize(
    ("file", "where", "value", "stale"),
    [
        ("rubric.yaml", "criteria.2.judge.rule.min_words", 5, {"rubric", *(f"round_1/{s}" for s in ROUND_1[1:])}),
        ("rubric.yaml", "criteria.2.weight", 2, {"rubric", *(f"round_1/{s}" for s in ROUND_1[2:])}),
        ("campaign.yaml", "training.epochs", 2, {f"round_1/{s}" for s in ROUND_1[3:]}),
    ],
)
def test_an_edit_leaves_only_downstream_assets_unsynced(
    finished_copy: Path, file: str, where: str, value: object, stale: set[str]
) -> None:
    edit(finished_copy / file, where, value)
    assert unsynced() == stale | ROUND_2 | {"promotion"}


def test_a_runtime_setting_leaves_everything_in_sync(finished_copy: Path) -> None:
    edit(finished_copy / "campaign.yaml", "rollouts.runtime.batch_size", 3)
    assert unsynced() == set()


def test_materializing_what_is_unsynced_brings_everything_in_sync(finished_copy: Path) -> None:
    edit(finished_copy / "rubric.yaml", "criteria.2.judge.rule.min_words", 5)
    assert materialize(finished_copy, sorted(f"tiny/{name}" for name in unsynced())).success
    assert unsynced() == set()


def test_a_new_champion_makes_campaigns_that_start_from_it_stale_and_launches_nothing(finished_copy: Path) -> None:
    second = started_from_champion(finished_copy)
    assert materialize(second, [f"second/{name}" for name in ("prompts", "rubric", "policy", "labels")]).success
    assert "second/policy" not in unsynced()
    before = looked("second_changes", None)
    promote(load_campaign(finished_copy), Home.find(), 2, force=True, why="reads better")
    assert "second/policy" in unsynced()
    assert not {"policy", "round_1/rollouts"} & unsynced()  # of the campaign that promoted
    assert looked("second_changes", before.cursor).run_requests in (None, [])


def looked(sensor: str, cursor: str | None) -> SensorExecutionData:
    """One tick of a sensor."""
    found = definitions(Home.find()).resolve_sensor_def(sensor)
    with instance() as running, dg.build_sensor_context(instance=running, cursor=cursor) as context:
        return found.evaluate_tick(context)
