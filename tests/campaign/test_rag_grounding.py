"""The shipped campaign `rag_grounding`: its references and anchors agree with its own rules."""

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from rft_pipeline.campaign import Campaign, load_campaign, load_rubric
from rft_pipeline.judges import make_judge
from rft_pipeline.judges.rule import RuleJudge
from rft_pipeline.rules import Rollout, RuleScore
from tests.judges.engines import OneEngine, Told, judgements

FOLDER = Path(__file__).parents[2] / "data" / "rag_grounding"
NOT_SEEN = {"negated": 5}
"""Anchors that turn a passage into its opposite: rules compare words and do not see it."""


@pytest.fixture(scope="module")
def campaign() -> Campaign:
    return load_campaign(FOLDER)


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (FOLDER / name).read_text(encoding="utf-8").splitlines()]


def scores(campaign: Campaign, row: dict[str, Any], reply: str) -> dict[str, RuleScore]:
    rollout = Rollout(row["prompt"], reply, fields={name: row[name] for name in ("context", "answerable")})
    judges = {each.name: each.judge for each in campaign.rubric.criteria}
    return {name: judge.rule.decide(rollout) for name, judge in judges.items() if isinstance(judge, RuleJudge)}


def reward(campaign: Campaign, row: dict[str, Any]) -> float:
    """The reward by the rules alone, in [0, 1]: the weighted mean, 0 below a gate."""
    found = {name: each.score or 0.0 for name, each in scores(campaign, row, row["completion"]).items()}
    if any(found[name] < gate for name, gate in campaign.rubric.gates().items()):
        return 0.0
    weights = campaign.rubric.weights()
    return sum(weights[name] * score for name, score in found.items()) / sum(weights[name] for name in found)


def test_it_holds_what_its_readme_says() -> None:
    train, held_out, anchors = (rows(name) for name in ("prompts/train.jsonl", "prompts/eval.jsonl", "anchors.jsonl"))
    assert (len(train), len(held_out), len(anchors)) == (64, 32, 56)
    for some in (train, held_out):
        assert sum(not row["answerable"] for row in some) / len(some) == 0.25
    devices = [{row["device"] for row in some} for some in (train, held_out, anchors)]
    assert sum(map(len, devices)) == len(set().union(*devices))


def test_each_reference_gets_full_marks_from_the_rules(campaign: Campaign) -> None:
    for row in rows("prompts/train.jsonl"):
        found = scores(campaign, row, row["reference"])
        assert all(each.score == 1 for each in found.values()), (row["reference"], found)


def test_the_rules_agree_with_the_labels_of_the_anchors_but_for_a_missing_not(campaign: Campaign) -> None:
    gates = campaign.rubric.gates()
    wrong = Counter(
        row["kind"]
        for row in rows("anchors.jsonl")
        for name, found in scores(campaign, row, row["completion"]).items()
        if row["labels"][name] is not None
        and found.score is not None
        and (found.score >= gates.get(name, 0.75)) != bool(row["labels"][name])
    )
    assert wrong == NOT_SEEN


def test_each_way_to_cheat_has_the_reward_that_the_readme_says(campaign: Campaign) -> None:
    """Of weights 1, 2, 1, 0.5 and 0.5, a reply without support keeps 3/5, one without a valid citation 4/5."""
    by_kind = defaultdict(list)
    for row in rows("anchors.jsonl"):
        by_kind[row["kind"]].append(reward(campaign, row))
    assert min(by_kind.pop("good_answer") + by_kind.pop("good_refusal")) == pytest.approx(1.0)
    assert {kind: max(found) for kind, found in by_kind.items()} == pytest.approx(
        {
            **dict.fromkeys(("refuses_answerable", "made_up_answer", "context_copied", "empty"), 0.0),
            **dict.fromkeys(("wrong_number", "unsupported_claim"), 2 / 5),
            "keyword_soup": 2.5 / 5,
            "refuses_and_invents": 3 / 5,
            **dict.fromkeys(("wrong_citation", "missing_passage", "no_citation"), 4 / 5),
            "half_invented": 4 / 5,
            "cites_all": (4 + 1 / 3) / 5,
            **dict.fromkeys(("other_passage", "negated"), 1.0),  # left to a judge
        }
    )


def test_a_strong_judge_is_shown_the_passages_between_fences() -> None:
    (supported,) = [each for each in load_rubric(FOLDER / "rubric_judged.yaml").criteria if each.name == "supported"]
    row = rows("anchors.jsonl")[0]
    asker = Told(lambda _: '{"reason": "as passage 1 says", "grade": 3}')
    rollout = Rollout(row["prompt"], row["completion"], fields={"context": row["context"]})
    [found] = judgements(make_judge(supported.judge, OneEngine(asker)), [rollout])
    assert found.score == 1.0
    [request] = asker.asked
    shown = request.messages[-1][1]
    for text in (row["prompt"], row["context"], row["completion"]):
        assert f"```\n{text}\n```" in shown
    assert "{" not in shown.replace('{"reason": "...", "grade": 1 to 3}', "")
