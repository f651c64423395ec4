"""Campaigns whose models a server holds."""

from pathlib import Path

import polars as pl
import pytest

from rft_pipeline import models
from rft_pipeline.check import check_campaign
from rft_pipeline.errors import ConfigError, EngineError
from rft_pipeline.store import Home
from tests.engines.serving import SETTINGS, Serving
from tests.runs import edit, made, run

SAMPLED = ["prompts", "rubric", "policy", "round_1/rollouts", "round_1/judge_scores", "round_1/reward_batches"]
GOOD = {"name": "good", "judge": {"protocol": "binary", "question": "Is number 1 good?"}}
ENOUGH = {"name": "says_enough", "judge": {"protocol": "rule", "rule": {"name": "length", "min_words": 6}}}


@pytest.fixture
def campaign(tiny_campaign: Path, server: Serving) -> Path:
    """The tiny campaign with a served policy and a served judge."""
    served = {"model": "served:judge", "server": {"url": server.url, **SETTINGS}}
    edit(tiny_campaign / "campaign.yaml", "policy", served)
    edit(tiny_campaign / "campaign.yaml", "judge", served)
    edit(tiny_campaign / "rubric.yaml", "criteria", [GOOD, ENOUGH])
    return tiny_campaign


def test_a_served_policy_is_sampled_and_judged(campaign: Path) -> None:
    records = run(campaign, SAMPLED)
    assert records["policy"].content_hash == models.identify("served:judge", Home.find().models, campaign)
    rollouts = records["round_1/rollouts"]
    rows = pl.read_parquet(rollouts.path("rollouts.parquet"))
    assert rows.height == 16
    assert rows["completion"].str.contains("^drawn from 0 with seed").all()
    assert rows["completion"].n_unique() == 16
    assert set(rows["tokens"].list.len()) == {0}
    assert rollouts.metrics["length_words_mean"] == 6.0
    assert "length_mean" not in rollouts.metrics
    scores = pl.read_parquet(records["round_1/judge_scores"].path("judge_scores.parquet"))
    assert set(scores["status"]) == {"scored"}
    assert records["round_1/judge_scores"].metrics["tokens_read"] == 16 * 100
    assert records["round_1/reward_batches"].rows["rollouts"] == 16
    assert made(run(campaign, SAMPLED)) == []


def test_another_address_of_the_server_makes_nothing_again(campaign: Path) -> None:
    run(campaign, SAMPLED)
    for key in ("policy", "judge"):
        edit(campaign / "campaign.yaml", f"{key}.server", {"url": "http://elsewhere.invalid/v1"})
    assert made(run(campaign, SAMPLED)) == []


def test_another_effort_of_the_judge_is_another_judge(campaign: Path) -> None:
    run(campaign, SAMPLED)
    edit(campaign / "campaign.yaml", "judge.reasoning_effort", "low")
    assert made(run(campaign, SAMPLED))[0] == "round_1/judge_scores"


def test_a_served_policy_has_no_weights_to_train(campaign: Path) -> None:
    run(campaign, SAMPLED)
    with pytest.raises(ConfigError, match=r"tiny/round_1/checkpoints: policy\.model served:judge has no weights here"):
        run(campaign, ["round_1/checkpoints"])


def test_check_says_how_far_a_served_policy_gets(campaign: Path) -> None:
    edit(campaign / "campaign.yaml", "policy.server.api_key_env", "ABSENT_KEY")
    warnings = "\n".join(check_campaign(campaign, Home.find().models, Home.find().store).warnings)
    assert "policy.model: served:judge has no weights here to train" in warnings
    assert "only the stages up to round 1's reward_batches can run" in warnings
    assert "policy.server.api_key_env: ABSENT_KEY is not set in this environment" in warnings


def test_a_limit_stops_the_stage_and_the_next_run_goes_on(campaign: Path, server: Serving) -> None:
    run(campaign, SAMPLED[:3])
    edit(campaign / "campaign.yaml", "policy.server.max_calls", 10)
    with pytest.raises(EngineError, match=r"policy: 10 calls made, the most that policy\.server\.max_calls"):
        run(campaign, ["round_1/rollouts"])
    assert run(campaign, ["round_1/rollouts"])["round_1/rollouts"].rows["made"] == 6


def test_judgements_that_failed_are_asked_for_again(campaign: Path, server: Serving) -> None:
    run(campaign, SAMPLED[:4])
    server.plan(refuses=("model",))
    with pytest.raises(EngineError, match=r"16 of 32 judgements failed \(HTTP 400: Unsupported"):
        run(campaign, ["round_1/judge_scores"])
    server.plan()
    record = run(campaign, ["round_1/judge_scores"])["round_1/judge_scores"]
    assert (record.rows["made"], record.rows["failed"]) == (16, 0)
