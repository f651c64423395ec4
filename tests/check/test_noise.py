"""Whether the noise of the judges can be measured, where it is to count."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from rft_pipeline.check import campaign as checked
from tests.check.small import BAD, GOOD, POLITE, campaign, check, errors, warnings

BY_GROUP = {"audit": {"by_group": True}}
PAIRS = [{**each, "prompt": f"Where is parcel {i}?"} for i in range(10) for each in (GOOD, BAD)]


def test_ten_prompts_with_two_labelled_anchors_pass(tmp_path: Path) -> None:
    assert not any("by_group" in each for each in check(campaign(tmp_path, anchors=PAIRS, settings=BY_GROUP)).warnings)


def test_anchors_to_one_prompt_are_refused(tmp_path: Path) -> None:
    assert errors(campaign(tmp_path, anchors=[GOOD, BAD], settings=BY_GROUP)) == [
        "campaign.yaml: audit.by_group: the noise of a judge is measured on prompts with two labelled replies or more, "
        "and no criterion has 10 of them (audit.min_prompts); polite has the most, 1; label more replies to the same "
        "prompts"
    ]


def test_judges_that_only_compare_are_refused(tmp_path: Path) -> None:
    only: list[dict[str, Any]] = [{"name": "polite", "judge": {"protocol": "listwise", "question": "Which is kinder?"}}]
    [error] = [
        each for each in errors(campaign(tmp_path, only, anchors=PAIRS, settings=BY_GROUP)) if "by_group" in each
    ]
    assert error.startswith("campaign.yaml: audit.by_group: every judge compares the replies of a group")


def test_a_method_that_learns_from_no_group_is_refused(tmp_path: Path) -> None:
    settings = {**BY_GROUP, "training": {"method": "sft", "batch_size": 8}}
    found = errors(campaign(tmp_path, anchors=PAIRS, settings=settings))
    assert any(each.startswith("campaign.yaml: audit.by_group: training.method sft learns from") for each in found)


def test_a_criterion_with_few_such_prompts_is_warned_of(tmp_path: Path) -> None:
    rude = {"name": "rude", "judge": {"protocol": "binary", "question": "Is it rude?"}}  # by log-probs
    kind = {"name": "polite", "judge": {"protocol": "binary", "question": "Is it polite?"}}
    anchors = [{**each, "labels": {**each["labels"], "rude": 1}} if i < 4 else each for i, each in enumerate(PAIRS)]
    found = warnings(campaign(tmp_path, [kind, rude], anchors=anchors, settings=BY_GROUP))
    assert any(
        each.startswith("campaign.yaml: audit.by_group: rude has 2 prompts with two labelled replies") for each in found
    )


SINGLE = [{**each, "prompt": f"Where is parcel {i}?"} for i, each in enumerate([GOOD, BAD] * 5)]
KIND = {"protocol": "binary", "question": "Is it polite?", "answer": "json"}


@pytest.mark.parametrize(
    "judge", [KIND, {"protocol": "graded", "question": "How polite?", "grades": ["rude", "kind"], "answer": "json"}]
)
def test_a_judge_that_says_0_or_1_is_measured_on_single_anchors(tmp_path: Path, judge: dict[str, Any]) -> None:
    kind: list[dict[str, Any]] = [{"name": "polite", "judge": judge}]
    folder = campaign(tmp_path, kind, anchors=SINGLE, settings=BY_GROUP)
    assert not any("by_group" in each for each in check(folder).warnings)


@pytest.mark.parametrize(
    "judge", [POLITE, {**KIND, "answer": "word"}, {"protocol": "graded", "question": "How?", "grades": ["a", "b", "c"]}]
)
def test_a_judge_that_says_something_between_is_not(tmp_path: Path, judge: dict[str, Any]) -> None:
    folder = campaign(tmp_path, [{"name": "polite", "judge": judge}], anchors=SINGLE, settings=BY_GROUP)
    [error] = errors(folder)
    assert "polite has the most, 0" in error


def test_what_people_labelled_counts_beside_the_anchors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = {
        "rollout_id": [f"r{i}" for i in range(10)],
        "prompt_id": [f"p{i // 2}" for i in range(10)],  # two replies to each of five prompts
        "criterion": ["polite"] * 10,
        "value": [1.0] * 10,
        "split": ["audit"] * 10,
    }
    twice = pl.concat([pl.DataFrame(labels)] * 2)  # two people labelled each
    monkeypatch.setattr(checked, "labels_of", lambda campaign, store: twice)
    folder = campaign(tmp_path, anchors=PAIRS[:10], settings=BY_GROUP)
    assert not any("by_group" in each for each in check(folder).warnings)
    fitted = twice.with_columns(split=pl.lit("calibration"))
    monkeypatch.setattr(checked, "labels_of", lambda campaign, store: fitted)
    assert "polite has the most, 5" in errors(folder)[0]
