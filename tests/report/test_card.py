"""The model card as its reader meets it."""

from dataclasses import replace
from typing import Any

from rft_pipeline.report.card import Facts, render_card


def interval(mean: float, half: float) -> dict[str, float]:
    return {"mean": mean, "lower95": mean - half, "upper95": mean + half}


def audited(criterion: str, power: str, weight: float, reason: str) -> dict[str, Any]:
    found = {"criterion": criterion, "power": power, "weight": weight, "reason": reason, "good": 30, "bad": 20}
    return {**found, "auc": interval(0.9, 0.05), "youden_j": {"mean": None, "lower95": None, "upper95": None}}


FACTS = Facts(
    campaign="support_reply",
    description="Answers mail about parcels.",
    round=2,
    content_hash="cafe",
    base={"name": "embedded", "source": "package", "content_hash": "babe"},
    prompts={"train": 160, "eval": 88, "train_hash": "aa", "eval_hash": "bb"},
    training={"method": "grpo", "epochs": 1},
    trained=[{"round": number, "prompts": 32, "rollouts": 256, "excluded": 8, "steps": 4} for number in (1, 2)],
    rubric=[{"name": "kind", "weight": 1.0, "gate": None, "protocol": "contrast", "description": "warm | polite"}],
    judges={"judge": "feed"},
    audit=[
        audited("kind", "trains", 1.0, "agrees with people"),
        audited("loved", "monitor", 0.0, "separates good from bad no better than chance"),
        audited("brief", "noise", 0.5, "noisy"),
    ],
    people={"kind": {"labelled": 60, **dict.fromkeys(("judge", "human", "powered"), interval(0.5, 0.1))}},
    before={"name": "base", "reward": 0.5, "lower95": 0.48, "upper95": 0.52, "criteria": {"kind": {"mean": 0.5}}},
    after={
        "reward": 0.6,
        "lower95": 0.58,
        "upper95": 0.62,
        "criteria": {"kind": {"mean": 0.6}},
        "delta": interval(0.1, 0.02),
    },
    alarm={"level": "warn", "reason": "Replies grew by 40 %."},
    decision="round 2 is promoted over base: reward +0.1000",
    forced=False,
    against="base",
    bounds=[{"name": "reward", "passed": True, "said": "reward +0.1000"}],
    lineage={"policy": ["support_reply/policy/01"], "checkpoints": ["support_reply/round_2/checkpoints/02"]},
)


def test_a_card_tells_what_the_reward_is_worth_before_it_tells_the_rest() -> None:
    card = render_card(FACTS)
    for part in (
        "in 2 rounds of the campaign `support_reply`",
        "On 88 held-out prompts its reward is 0.600, a change of +0.100 from the base model",
        "Compared with base on the same held-out prompts:",
        "| yes | reward +0.1000 |",
        "| kind | 1.0 |  | contrast | warm \\| polite |",
        "| kind | trains | 100 % | 30 / 20 | 0.900 (0.850 to 0.950) |",
        "- loved: its judge failed the audit, so the criterion did not train.",
        "- brief: its judge is noisy, so the criterion trained with part of its weight.",
        "| kind | 60 | 0.500 (0.400 to 0.600) |",
        "Alarms: warn. Replies grew by 40 %.",
        "- checkpoints: `support_reply/round_2/checkpoints/02`",
    ):
        assert part in card, part
    assert "None" not in card
    assert card.index("not the opinion of users") < card.index("## Promotion") < card.index("## Limits")


def test_a_card_without_audit_labels_or_alarms_says_so() -> None:
    card = render_card(replace(FACTS, audit=[], people={}, alarm=None, bounds=[], forced=True, decision="kinder"))
    for part in (
        "**A person forced this promotion; the round did not have to pass the bounds.** Reason: kinder",
        "**The judges were not audited against people's labels.**",
        "People labelled no training replies of this campaign.",
        "The campaign has no alarms",
    ):
        assert part in card, part
    assert "Compared with" not in card


def test_a_card_of_a_report_that_is_gone_still_tells_the_rest() -> None:
    card = render_card(replace(FACTS, before=None, after=None, alarm=None))
    assert "The store has no eval report of these weights" in card
    assert "On 88 held-out prompts" not in card
