"""`rft run`, with Dagster's executors."""

import gc
import json
import os
import sys
from importlib import import_module
from pathlib import Path

import pytest

from rft_pipeline.runs.execute import PRELOADED
from rft_pipeline.store import Home, RecordStore
from tests.cli.small import Rft, assert_one_message, execute_steps_here, rft_process
from tests.runs import edit


@pytest.fixture
def in_this_process(finished_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    execute_steps_here(monkeypatch)


def test_a_campaign_runs_each_stage_in_a_process_and_a_second_run_finds_everything(
    rft: Rft, tiny_campaign: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = rft_process("run", "tiny", "--rounds", "1")
    assert first.code == 0, first.err
    assert "0 of 9 stages cached, 9 made" in first.err
    head, reward, *_ = first.out.splitlines()
    assert head.split() == ["held-out", "prompts", "base", "round", "1"]
    assert reward.split()[0] == "reward"
    assert "held-out reward, last round minus base:" in first.out
    for stage in ("prompts", "round_1/rollouts", "round_1/eval_reports"):
        assert f"tiny/{stage}: made in" in first.err
    assert "Traceback" not in first.err

    execute_steps_here(monkeypatch)  # as a run does where all is cached
    second = rft("run", "tiny", "--rounds", "1")
    assert second.code == 0, second.err
    assert "9 of 9 stages cached, 0 made" in second.err
    assert second.out == first.out
    assert not list(Home.find().progress.glob("*.json"))


@pytest.mark.usefixtures("in_this_process")
def test_what_turns_out_the_same_is_counted_as_cached(rft: Rft, finished_copy: Path) -> None:
    lost = RecordStore(Home.find().store).current("tiny/round_1/judge_scores")
    assert lost is not None
    lost.path("judge_scores.parquet").unlink()
    said = rft("run", "tiny")
    assert said.code == 0, said.err
    assert "14 of 15 stages cached, 1 made" in said.err


@pytest.mark.usefixtures("in_this_process")
def test_a_campaign_is_checked_again_only_if_something_is_to_be_made(
    rft: Rft, finished_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = []
    monkeypatch.setattr("rft_pipeline.check.check_campaign", lambda folder, *_: checked.append(folder))
    assert "15 of 15 stages cached" in rft("run", "tiny").err
    assert checked == []
    lost = RecordStore(Home.find().store).current("tiny/round_1/judge_scores")
    assert lost is not None
    lost.path("judge_scores.parquet").unlink()
    assert "14 of 15 stages cached, 1 made" in rft("run", "tiny").err
    assert [folder.name for folder in checked] == ["tiny"]


@pytest.mark.usefixtures("in_this_process")
def test_a_stage_that_fails_is_named_with_its_message_and_what_stands_is_kept(
    rft: Rft, finished_copy: Path, tiny_model: Path
) -> None:
    import shutil

    broken = finished_copy / "broken"
    shutil.copytree(tiny_model, broken)
    (broken / "config.json").write_text(json.dumps({"model_type": "no such type"}), encoding="utf-8")
    edit(finished_copy / "campaign.yaml", "judge.model", "broken")
    said = rft("run", "tiny")
    assert_one_message(
        said,
        "tiny/round_1/judge_scores: ",
        f"{broken}: cannot be loaded",
        "finished stages are kept, and `rft run` continues from there",
    )
    assert RecordStore(Home.find().store).current("tiny/round_1/rollouts") is not None

    edit(finished_copy / "campaign.yaml", "judge.model", str(tiny_model))
    assert "15 of 15 stages cached, 0 made" in rft("run", "tiny").err


@pytest.mark.usefixtures("in_this_process")
def test_a_rubric_that_cannot_tell_replies_apart_is_said_to_be_one(rft: Rft, finished_copy: Path) -> None:
    constant = {"name": "says_anything", "judge": {"protocol": "rule", "rule": {"name": "regex", "pattern": ".*"}}}
    trained = RecordStore(Home.find().store).current("tiny/round_1/checkpoints")
    assert trained is not None
    edit(finished_copy / "rubric.yaml", "criteria", [constant])
    said = rft("run", "tiny", "--from", "round_1")
    assert_one_message(
        said, "tiny/round_1/reward_batches: check groups_with_variance: 0 of 4 groups have variance to learn from"
    )
    assert RecordStore(Home.find().store).current("tiny/round_1/checkpoints") == trained


@pytest.mark.usefixtures("in_this_process")
def test_an_edited_rubric_makes_the_last_round_again_and_then_rests(rft: Rft, finished_copy: Path) -> None:
    edit(finished_copy / "rubric.yaml", "criteria.2.judge.rule.min_words", 5)
    said = rft("run", "tiny")
    assert said.code == 0, said.err
    assert "tiny/round_1/judge_scores: kept (on_rubric_change: continue)" in said.err
    assert "4 of 10 stages cached, 6 made" in said.err
    assert "10 of 10 stages cached, 0 made" in rft("run", "tiny").err


@pytest.mark.usefixtures("in_this_process")
def test_an_edited_rubric_may_make_only_the_reports_and_the_promotion_again(rft: Rft, finished_copy: Path) -> None:
    edit(finished_copy / "campaign.yaml", "on_rubric_change", "off")
    edit(finished_copy / "rubric.yaml", "criteria.2.judge.rule.min_words", 5)
    said = rft("run", "tiny")
    assert "tiny/round_2/judge_scores: kept (on_rubric_change: off)" in said.err
    assert "3 of 7 stages cached, 4 made" in said.err


def test_the_server_of_steps_has_imported_what_they_need_and_keeps_it_out_of_their_garbage_collection() -> None:
    for name in PRELOADED:
        import_module(name)
    assert {"torch", "dagster", "mlflow", "rft_pipeline.trainers.session", "rft_pipeline.pipeline.runner"} <= set(
        sys.modules
    )
    assert gc.isenabled()
    assert gc.get_freeze_count() > 100_000
    assert int(os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"]) < 1024
