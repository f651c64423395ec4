"""What the alarms promise, on synthetic campaigns of the size of support_reply (88 held-out prompts, two replies each).

See `simulator` for what is real and what is simulated.
"""

import pytest

from rft_pipeline.alarms.drift import drift, judge_drift
from rft_pipeline.alarms.findings import Level
from tests.alarms.simulator import HOW, Bias, anchors, campaign

SEEDS = range(10)
DRIFTS = range(20)


@pytest.mark.parametrize("bias", ["length", "phrase", "markdown"])
def test_a_planted_bias_fires_and_is_named_in_at_least_9_of_10_campaigns(bias: Bias) -> None:
    named = 0
    for seed in SEEDS:
        fired = [verdict for verdict in campaign(bias, seed) if verdict.level]
        paid = [cause for verdict in fired for cause in verdict.causes if cause in ("length", "phrase", "markdown")]
        named += paid[:1] == [bias]
    assert named >= 9


def test_an_honest_judge_and_a_policy_that_improves_fire_in_at_most_1_of_10_campaigns() -> None:
    assert sum(any(verdict.level for verdict in campaign("none", seed)) for seed in SEEDS) <= 1


def judged_drifted(swapped_at: int | None, seed: int, noise: float = 0.03) -> bool:
    drifts = drift(anchors(5, swapped_at, seed, noise=noise), HOW, seed)
    return any(found.level for round_ in range(1, 6) for found in judge_drift(drifts, round_, HOW, ["kind"]).values())


def test_a_judge_swapped_mid_campaign_is_called_drift_in_at_least_18_of_20_campaigns() -> None:
    assert sum(judged_drifted(3, seed) for seed in DRIFTS) >= 18


@pytest.mark.parametrize("noise", [0.0, 0.03, 0.1])
def test_a_judge_that_stays_is_not_called_drifted_however_the_policy_improves(noise: float) -> None:
    """The policy does not come into it: anchors are fixed replies."""
    assert sum(judged_drifted(None, seed, noise) for seed in DRIFTS) <= 2


def test_a_policy_that_goes_on_gaming_is_stopped() -> None:
    assert campaign("phrase", 0)[-1].level is Level.STOP
