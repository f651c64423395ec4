"""Where a run begins after an edit, in the finished tiny campaign of two rounds."""

from pathlib import Path

import pytest

from rft_pipeline.campaign import load_campaign
from rft_pipeline.pipeline.plan import Settled, settle
from rft_pipeline.pipeline.sources import source_hashes
from rft_pipeline.store import Home, RecordStore
from tests.runs import edit, run


def settled(folder: Path) -> Settled:
    campaign, home = load_campaign(folder), Home.find()
    return settle(campaign, RecordStore(home.store), source_hashes(campaign, home, fetch=False))


def start(folder: Path) -> int:
    return settled(folder).first_round


def test_without_edits_a_run_starts_from_round_1(finished_home: Path) -> None:
    assert start(finished_home) == 1


@pytest.mark.parametrize(("choice", "begins"), [("continue", 2), ("redo", 1)])
@pytest.mark.parametrize(("where", "value"), [("criteria.2.weight", 3), ("criteria.2.judge.rule.min_words", 5)])
def test_after_an_edit_of_the_rubric_the_campaign_chooses_the_first_round(
    finished_copy: Path, where: str, value: object, choice: str, begins: int
) -> None:
    edit(finished_copy / "rubric.yaml", where, value)
    edit(finished_copy / "campaign.yaml", "on_rubric_change", choice)
    assert start(finished_copy) == begins


def test_off_trains_nothing_and_makes_the_reports_and_the_promotion(finished_copy: Path) -> None:
    edit(finished_copy / "rubric.yaml", "criteria.2.judge.rule.min_words", 5)
    edit(finished_copy / "campaign.yaml", "on_rubric_change", "off")
    found = settled(finished_copy)
    reports = ["round_1/eval_reports", "round_2/eval_reports", "promotion"]
    assert found.keys == [f"tiny/{name}" for name in ("prompts", "rubric", "policy", "labels", *reports)]
    assert [each.node.name for each in found.plans if each.cause] == ["rubric", *reports]


def test_a_description_is_no_reason_to_keep_anything(finished_copy: Path) -> None:
    edit(finished_copy / "rubric.yaml", "criteria.2.description", "words")
    assert start(finished_copy) == 1


def test_after_an_edit_of_a_setting_too_a_run_starts_from_round_1(finished_copy: Path) -> None:
    edit(finished_copy / "rubric.yaml", "criteria.2.weight", 3)
    edit(finished_copy / "campaign.yaml", "training.learning_rate", 0.002)
    assert start(finished_copy) == 1


def test_after_an_edit_of_prompts_too_a_run_starts_from_round_1(finished_copy: Path) -> None:
    edit(finished_copy / "rubric.yaml", "criteria.2.weight", 3)
    train = finished_copy / "prompts" / "train.jsonl"
    train.write_text(train.read_text(encoding="utf-8").replace("lamp", "sofa"), encoding="utf-8")
    assert start(finished_copy) == 1


def test_a_round_that_was_never_finished_is_not_kept(tiny_campaign: Path) -> None:
    run(tiny_campaign, ["prompts", "rubric", "policy", "round_1/rollouts", "round_1/judge_scores"])
    edit(tiny_campaign / "rubric.yaml", "criteria.2.judge.rule.min_words", 5)
    assert start(tiny_campaign) == 1
