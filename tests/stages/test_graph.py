"""The nodes of a campaign."""

from dataclasses import replace
from pathlib import Path

import pytest

from rft_pipeline.campaign import load_campaign
from rft_pipeline.errors import ConfigError
from rft_pipeline.stages.graph import ROUND_STAGES, Node, node, nodes, resolve
from rft_pipeline.store import Record

MADE = ("policy", "round_1/checkpoints", "round_2/checkpoints", "round_2/eval_reports")


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


def test_an_unknown_node_is_refused_with_a_list_of_all_nodes(tiny_campaign: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"campaign tiny has no stage 'round_3/rollouts'; it has: prompts, rubric, .*"
    ):
        node(load_campaign(tiny_campaign), "round_3/rollouts")


def test_a_round_takes_the_weights_that_the_report_before_chose() -> None:
    here = Node("tiny", "round_3/rollouts", "rollouts", 3, {"policy": "round_2/eval_reports"})
    records = {name: Record(f"tiny/{name}", "f", {"stage": name.split("/")[-1]}, "c") for name in MADE}

    def policy(start: int | None) -> str:
        there = {**records, "round_2/eval_reports": replace(records["round_2/eval_reports"], next_start=start)}
        return resolve(here, {}, there.get).records["policy"].key

    assert policy(1) == "tiny/round_1/checkpoints"
    assert policy(0) == "tiny/policy"
    assert policy(None) == "tiny/round_2/checkpoints"


def test_what_has_not_run_is_missing_and_a_rubric_alone_is_not_waited_for() -> None:
    upstream = {"rubric": "rubric", "policy": "round_1/eval_reports", "base": "policy"}
    here = Node("tiny", "round_2/rollouts", "rollouts", 2, upstream)
    report = Record("tiny/round_1/eval_reports", "f", {"stage": "eval_reports"}, "c", next_start=1)
    found = resolve(here, {}, {"round_1/eval_reports": report}.get)
    assert found.missing == ("rubric", "round_1/checkpoints", "policy")
    assert found.waits_for == ("round_1/checkpoints", "policy")


@pytest.mark.parametrize(("sources", "missing"), [({}, ()), ({"labels": "given"}, ("labels",))])
def test_labels_are_waited_for_once_somebody_gave_some(sources: dict[str, str], missing: tuple[str, ...]) -> None:
    here = Node("tiny", "round_1/reward_batches", "reward_batches", 1, {"labels": "labels"})
    assert resolve(here, sources, {}.get).missing == missing
