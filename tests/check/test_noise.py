"""Whether the noise of the judges can be measured, where it is to count."""

from pathlib import Path
from typing import Any

from tests.check.small import BAD, GOOD, campaign, check, errors, warnings

BY_GROUP = {"audit": {"by_group": True}}
PAIRS = [{**each, "prompt": f"Where is parcel {i}?"} for i in range(10) for each in (GOOD, BAD)]


def test_ten_prompts_with_two_labelled_anchors_pass(tmp_path: Path) -> None:
    assert not any("by_group" in each for each in check(campaign(tmp_path, anchors=PAIRS, settings=BY_GROUP)).warnings)


def test_anchors_to_one_prompt_are_refused(tmp_path: Path) -> None:
    assert errors(campaign(tmp_path, settings=BY_GROUP)) == [
        "campaign.yaml: audit.by_group: the noise of a judge is measured on prompts with two labelled anchors or more, "
        "and no criterion has 10 of them (audit.min_prompts); the most are 1, of polite; label more replies to the "
        "same prompts"
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
    rude = {"name": "rude", "judge": {"protocol": "binary", "question": "Is it rude?"}}
    kind = {"name": "polite", "judge": {"protocol": "binary", "question": "Is it polite?"}}
    anchors = [{**each, "labels": {**each["labels"], "rude": 1}} if i < 4 else each for i, each in enumerate(PAIRS)]
    found = warnings(campaign(tmp_path, [kind, rude], anchors=anchors, settings=BY_GROUP))
    assert any(each.startswith("campaign.yaml: audit.by_group: rude has 2 prompts with two labelled") for each in found)
