"""The tiny campaign, materialized by Dagster in this process."""

import json
import math
from pathlib import Path

import dagster as dg
import pytest

from assets.stage import in_words
from rft_pipeline.campaign import load_campaign
from rft_pipeline.stages.graph import nodes
from rft_pipeline.store import Home, Record, RecordStore
from tests.assets.small import instance, materialize
from tests.runs import edit

NEVER_ENDS = "truncation_share"
"""A check that the tiny model fails: its replies end when the token budget does."""


def names(folder: Path) -> list[str]:
    return [node.name for node in nodes(load_campaign(folder))]


def record(name: str) -> Record | None:
    return RecordStore(Home.find().store).current(f"tiny/{name}")


def materialization(running: dg.DagsterInstance, name: str) -> dg.AssetMaterialization:
    event = running.get_latest_materialization_event(dg.AssetKey(["tiny", *name.split("/")]))
    assert event is not None
    assert event.asset_materialization is not None
    return event.asset_materialization


def test_data_versions_are_the_content_hashes_of_the_records(finished_home: Path) -> None:
    with instance() as running:
        for name in names(finished_home):
            made = record(name)
            assert made is not None
            tags = materialization(running, name).tags
            assert tags is not None
            assert tags["dagster/data_version"] == made.content_hash


def test_metadata_holds_the_numbers_the_links_and_tables(finished_home: Path) -> None:
    counts = {"prompts": 18, "rollouts": 16, "judge_scores": 64, "reward_batches": 16}
    tables = {
        "prompts": {"sample"},
        "rubric": {"criteria"},
        "rollouts": {"sample"},
        "judge_scores": {"scores"},
        "reward_batches": {"excluded", "best and worst"},
        "checkpoints": {"steps"},
    }
    with instance() as running:
        for name in names(finished_home):
            made, stage = record(name), name.rpartition("/")[2]
            assert made is not None
            metadata = materialization(running, name).metadata
            assert next(iter(metadata)) == "summary"
            summary = metadata["summary"].value
            assert str(summary).startswith("**")
            assert len(str(summary)) < 1000
            run_page = f"/rft/mlflow/#/runs/{made.mlflow_run_id}?workflowType=machine_learning"
            assert str(metadata["open"].value).endswith(f"[MLflow run]({run_page})")
            assert metadata["cached"].value is False
            assert (provenance := metadata["provenance"].value)
            assert isinstance(provenance, dict)
            assert Path(provenance["folder"]) == made.folder
            assert provenance["made from"] == made.payload
            assert provenance["record"] == made.address
            assert provenance["upstream"] == made.upstream
            for row, count in made.rows.items():
                assert metadata[f"number of {in_words(row)}"].value == count
            for metric, number in made.metrics.items():
                assert metadata[in_words(metric)].value == pytest.approx(number, abs=5e-5)
            if stage in counts:
                assert metadata["dagster/row_count"].value == counts[stage]
            for table in tables.get(stage, set()):
                value = metadata[table]
                assert isinstance(value, dg.MarkdownMetadataValue)
                assert value.md_str is not None
                assert value.md_str.splitlines()[1].startswith("| --- |")


@pytest.mark.parametrize(("name", "page"), [("round_2/eval_reports", "report.html"), ("promotion", "promotion.html")])
def test_a_page_and_its_plots_are_links_to_files_of_the_record(finished_home: Path, name: str, page: str) -> None:
    made = record(name)
    assert made is not None
    with instance() as running:
        metadata = materialization(running, name).metadata
    address = f"/rft/records/{made.address}"
    assert str(metadata["open"].value).startswith(f"[{page[:-5]}]({address}/{page}) · ")
    assert " · [all campaigns](/rft/reports/index.html) · " in str(metadata["open"].value)
    plots = [path.name for path in made.folder.glob("*.png")]
    assert plots
    for plot in plots:
        shown = f"![{plot[:-4]}]({address}/{plot})"
        assert metadata[f"plot of {in_words(plot.removesuffix('.png'))}"].value == shown
    kept = {each.path for each in Home.find().mlflow_client().list_artifacts(str(made.mlflow_run_id))}
    assert kept >= {page, *plots}


def test_checks_pass_except_for_one_that_only_warns(finished_home: Path) -> None:
    with instance() as running:
        events = running.get_event_records(dg.EventRecordsFilter(dg.DagsterEventType.ASSET_CHECK_EVALUATION))
    found = {}
    for event in events:
        dagster_event = event.event_log_entry.dagster_event
        assert dagster_event is not None
        evaluation = dagster_event.asset_check_evaluation_data
        found[evaluation.asset_key.to_user_string(), evaluation.check_name] = evaluation
    assert len(found) == 2 + 2 * 5
    for (_, name), evaluation in found.items():
        assert evaluation.passed is (name != NEVER_ENDS)
        if not evaluation.passed:
            assert evaluation.severity == dg.AssetCheckSeverity.WARN


def test_a_second_materialization_is_cached_and_keeps_the_data_versions(finished_copy: Path) -> None:
    with instance() as running:
        before = {name: materialization(running, name).tags for name in names(finished_copy)}
    result = materialize(finished_copy)
    assert result.success
    with instance() as running:
        for name in names(finished_copy):
            again = materialization(running, name)
            assert again.metadata["cached"].value is True
            assert (again.tags or {})["dagster/data_version"] == (before[name] or {})["dagster/data_version"]


def test_groups_without_variance_stop_training_with_a_reason(finished_copy: Path) -> None:
    constant = {"name": "says_anything", "judge": {"protocol": "rule", "rule": {"name": "regex", "pattern": ".*"}}}
    edit(finished_copy / "rubric.yaml", "criteria", [constant])
    edit(finished_copy / "campaign.yaml", "on_rubric_change", "redo")
    result = materialize(finished_copy)
    assert not result.success
    (failure,) = result.get_step_failure_events()
    assert failure.step_key == "tiny__round_1__reward_batches"
    assert "blocking asset check failed" in str(failure.step_failure_data.error)
    (evaluation,) = [each for each in result.get_asset_check_evaluations() if each.check_name == "groups_with_variance"]
    assert evaluation.description == (
        "0 of 4 groups have variance to learn from, a share of 0.00; reward.min_group_share requires 0.5. "
        "Sample more replies, or make the rubric separate them"
    )
    started = [str(event.step_key) for event in result.all_events if event.event_type_value == "STEP_START"]
    assert [key.removeprefix("tiny__") for key in started if "round" in key] == [
        "round_1__rollouts",
        "round_1__judge_scores",
        "round_1__reward_batches",
    ]
    for name in ("round_1/rollouts", "round_1/judge_scores", "round_1/reward_batches"):
        assert record(name) is not None
    batch = record("round_1/reward_batches")
    assert batch is not None
    assert (batch.rows["groups"], batch.rows["groups_used"]) == (4, 0)


def test_an_eval_prompt_that_was_trained_on_stops_everything(tiny_campaign: Path) -> None:
    with (tiny_campaign / "prompts" / "eval.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"id": "eval-99", "prompt": "please help with the LAMP!"}) + "\n")
    result = materialize(tiny_campaign, ["tiny/prompts", "tiny/policy", "tiny/round_1/rollouts"])
    assert not result.success
    (evaluation,) = result.get_asset_check_evaluations()
    assert evaluation.check_name == "no_overlap"
    assert not evaluation.passed
    assert evaluation.metadata["overlaps"].value == 1
    assert "eval-99" in str(evaluation.metadata["pairs"].value)
    assert evaluation.description == ("1 eval prompts equal a train prompt, or nearly (eval-99); reword or remove them")
    assert record("prompts") is not None
    assert record("round_1/rollouts") is None


def test_a_step_that_is_not_finite_stops_downstream_stages_and_is_named(finished_copy: Path) -> None:
    made = record("round_1/checkpoints")
    assert made is not None
    path = made.path("steps.jsonl")
    first, second = path.read_text(encoding="utf-8").splitlines()
    path.write_text(f"{first}\n{json.dumps({**json.loads(second), 'loss': math.nan})}\n", encoding="utf-8")
    result = materialize(finished_copy, ["tiny/round_1/checkpoints", "tiny/round_2/rollouts"])
    assert not result.success
    evaluation = result.get_asset_check_evaluations()[0]
    assert evaluation.check_name == "finite"
    assert not evaluation.passed
    assert evaluation.description == "loss or gradient norm is not finite in step 2; lower training.learning_rate"
    assert len(result.get_asset_materialization_events()) == 1
