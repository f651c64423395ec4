"""The nodes of a campaign."""

from dataclasses import replace
from pathlib import Path

import pytest

from rft_pipeline.campaign import load_campaign
from rft_pipeline.errors import ConfigError
from rft_pipeline.stages.graph import ROUND_STAGES, chosen, node, nodes
from rft_pipeline.store import Record

SOURCES = {"prompts.train": "t", "prompts.eval": "e", "policy": "p", "judge": "j"}


def test_rounds_are_unrolled_upstream_first(tiny_campaign: Path) -> None:
    found = nodes(load_campaign(tiny_campaign))
    names = [here.name for here in found]
    unrolled = [f"round_{r}/{s}" for r in (1, 2) for s in ROUND_STAGES]
    assert names == ["prompts", "rubric", "policy", "labels", *unrolled, "promotion"]
    for place, here in enumerate(found):
        assert here.key == f"tiny/{here.name}"
        assert set(here.upstream.values()) <= set(names[:place])


def test_a_round_starts_from_the_checkpoint_of_the_one_before(tiny_campaign: Path) -> None:
    campaign = load_campaign(tiny_campaign)
    assert node(campaign, "round_1/rollouts").upstream["policy"] == "policy"
    assert node(campaign, "round_2/rollouts").upstream["policy"] == "round_1/checkpoints"
    assert node(campaign, "round_2/checkpoints").upstream == {
        "base": "policy",
        "policy": "round_1/checkpoints",
        "reward_batches": "round_2/reward_batches",
    }
    assert node(campaign, "round_2/eval_reports").upstream == {
        "prompts": "prompts",
        "rubric": "rubric",
        "base": "policy",
        "checkpoints_1": "round_1/checkpoints",
        "checkpoints_2": "round_2/checkpoints",
        "labels": "labels",
        "judge_scores_1": "round_1/judge_scores",
        "judge_scores_2": "round_2/judge_scores",
    }


def test_a_node_that_is_not_there_is_answered_with_those_that_are(tiny_campaign: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"campaign tiny has no stage 'round_3/rollouts'; it has: prompts, rubric, .*"
    ):
        node(load_campaign(tiny_campaign), "round_3/rollouts")


def test_a_round_takes_the_weights_that_the_report_before_chose(tiny_campaign: Path) -> None:
    report = {"stage": "eval_reports"}
    stopped = Record("tiny/round_2/eval_reports", "f", report, "c", metrics={"start_round": 1.0})
    assert chosen(stopped) == "round_1/checkpoints"
    assert chosen(replace(stopped, metrics={"start_round": 0.0})) == "policy"
    assert chosen(replace(stopped, metrics={})) == "round_2/checkpoints"
    assert chosen(Record("tiny/round_1/checkpoints", "f", {"stage": "checkpoints"}, "c")) is None
