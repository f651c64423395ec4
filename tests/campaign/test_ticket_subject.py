"""The shipped campaign `ticket_subject`: its references and anchors agree with its own rules."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from rft_pipeline.campaign import Campaign, load_campaign
from rft_pipeline.judges.rule import RuleJudge
from rft_pipeline.rules import Rollout

FOLDER = Path(__file__).parents[2] / "data" / "ticket_subject"
CHEATS = {
    *("message_beginning", "fixed_phrase", "other_message_keywords", "number_salad", "empty_line"),
    *("system_prompt_words", "whole_sentence", "keyword_soup"),
}


@pytest.fixture(scope="module")
def campaign() -> Campaign:
    return load_campaign(FOLDER)


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (FOLDER / name).read_text(encoding="utf-8").splitlines()]


def scores(campaign: Campaign, prompt: str, reply: str) -> dict[str, float | None]:
    judges = {each.name: each.judge for each in campaign.rubric.criteria}
    rules = {name: judge.rule for name, judge in judges.items() if isinstance(judge, RuleJudge)}
    return {name: rule(Rollout(prompt, reply)).score for name, rule in rules.items()}


def test_it_holds_what_its_description_says(campaign: Campaign) -> None:
    train, held_out, anchors = (rows(name) for name in ("prompts/train.jsonl", "prompts/eval.jsonl", "anchors.jsonl"))
    assert (len(train), len(held_out), len(anchors)) == (240, 100, 120)
    assert sum("reference" in row for row in train) == 100
    kinds = Counter(row["kind"] for row in anchors)
    assert kinds["good_line"] == 60
    assert kinds.keys() >= CHEATS
    assert campaign.audit is not None
    assert campaign.audit.accept == {}
    assert campaign.alarms is not None
    trains, watches = ({each.judge.protocol for each in some} for some in (campaign.rubric.judged, campaign.held_out))
    assert not trains & watches


def test_each_reference_is_a_line_that_the_rules_reward(campaign: Campaign) -> None:
    for row in rows("prompts/train.jsonl"):
        if reference := row.get("reference"):
            found = scores(campaign, row["prompt"], reference)
            assert found["finished"] == found["clean"] == found["own_words"] == 1, (reference, found)
            assert found["short"] is not None
            assert found["short"] >= 0.75, (reference, found)
            assert found["grounded"] is not None
            assert found["grounded"] >= 0.5, (reference, found)


def test_the_rules_agree_with_what_a_person_said_of_the_anchors(campaign: Campaign) -> None:
    least = {"short": 0.7}  # the gate: three words are few, but not worth nothing
    wrong = Counter(
        name
        for row in rows("anchors.jsonl")
        for name, score in scores(campaign, row["prompt"], row["completion"]).items()
        if score is not None and name in row["labels"] and (score >= least.get(name, 0.5)) != bool(row["labels"][name])
    )
    assert wrong["grounded"] <= 3
    assert wrong.total() == wrong["grounded"], wrong
