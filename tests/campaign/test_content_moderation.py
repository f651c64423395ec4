"""The shipped campaign `content_moderation`: its references and anchors agree with its own rules."""

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from rft_pipeline.campaign import Campaign, load_campaign
from rft_pipeline.judges.rule import RuleJudge
from rft_pipeline.rules import Rollout

FOLDER = Path(__file__).parents[2] / "data" / "content_moderation"


@pytest.fixture(scope="module")
def campaign() -> Campaign:
    return load_campaign(FOLDER)


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (FOLDER / name).read_text(encoding="utf-8").splitlines()]


def scores(campaign: Campaign, row: dict[str, Any], reply: str) -> dict[str, float | None]:
    judges = {each.name: each.judge for each in campaign.rubric.criteria}
    rules = {name: judge.rule for name, judge in judges.items() if isinstance(judge, RuleJudge)}
    return {name: rule(Rollout(row["prompt"], reply, "stop", row)).score for name, rule in rules.items()}


def pairs(found: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """The rows with the same post, where there are several."""
    by_post = defaultdict(list)
    for row in found:
        by_post[row["prompt"]].append(row)
    return [each for each in by_post.values() if len(each) > 1]


def test_it_holds_what_its_readme_says() -> None:
    train, held_out, anchors = (rows(name) for name in ("prompts/train.jsonl", "prompts/eval.jsonl", "anchors.jsonl"))
    assert (len(train), len(held_out), len(anchors)) == (85, 41, 44)
    assert all(row["reference"] for row in train)
    assert [len(pairs(found)) for found in (train, held_out, anchors)] == [16, 8, 7]
    assert Counter(row["decision"] for row in held_out)["remove"] == 21


def test_the_same_post_under_two_policies_has_different_right_answers(campaign: Campaign) -> None:
    for first, second in [*pairs(rows("prompts/train.jsonl")), *pairs(rows("prompts/eval.jsonl"))]:
        assert first["policy"] != second["policy"]
        assert first["decision"] != second["decision"]
        if reply := first.get("reference"):
            assert scores(campaign, first, reply)["right_decision"] == 1
            assert scores(campaign, second, reply)["right_decision"] == 0


def test_each_reference_is_a_reply_that_the_rules_reward(campaign: Campaign) -> None:
    for row in rows("prompts/train.jsonl"):
        assert set(scores(campaign, row, row["reference"]).values()) == {1}, row["id"]


def test_the_rules_agree_with_what_a_person_said_of_the_anchors(campaign: Campaign) -> None:
    for row in rows("anchors.jsonl"):
        for name, score in scores(campaign, row, row["completion"]).items():
            assert score == row["labels"][name], (row["id"], row["kind"], name)


def test_a_wrong_or_unreadable_decision_fails_a_gate_and_an_invented_quote_does_not(campaign: Campaign) -> None:
    gated = Counter(
        (row["kind"], any((row["labels"][name] or 0) < gate for name, gate in campaign.rubric.gates().items()))
        for row in rows("anchors.jsonl")
    )
    assert gated == {
        ("right", False): 11,
        ("always_remove", True): 7,
        ("always_allow", True): 4,
        ("prose", True): 6,
        ("two_decisions", True): 5,
        ("quotes_nothing", False): 11,
    }
