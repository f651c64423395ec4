"""What a judge's noise leaves of a criterion within a group, and what that does to a reward batch."""

import math

import numpy as np
import polars as pl
import pytest

from rft_pipeline.campaign import Reward
from rft_pipeline.rewards.batch import Batch, advantages, make_batch
from rft_pipeline.rewards.group_noise import JudgeNoise, count_damped, group_weight

FLIPS = JudgeNoise(0.15 * 0.85, flips=True)
SOFT = JudgeNoise(0.01, flips=False)
PLAIN = Reward(damping=0, clip=100)
Groups = list[list[float]]


def split(ones: int) -> np.ndarray:
    """The verdicts of a group of eight."""
    return np.array([1.0] * ones + [0.0] * (8 - ones))


@pytest.mark.parametrize(
    ("ones", "weight"), [(0, 0), (1, 0), (2, 0.56569), (3, 0.67528), (4, 0.7), (5, 0.67528), (7, 0), (8, 0)]
)
def test_with_15_percent_flips_one_of_eight_is_noise_and_four_of_eight_weigh_as_the_paper_says(
    ones: int, weight: float
) -> None:
    """(1 − 2p) √(t(1 − t) / (r(1 − r))) with t = (r − p) / (1 − 2p), of S-GRPO; at 4 of 8 it is 1 − 2p."""
    p, r = 0.15, ones / 8
    t = (r - p) / (1 - 2 * p)
    published = (1 - 2 * p) * math.sqrt(t * (1 - t) / (r * (1 - r))) if 0 < t < 1 else 0.0
    assert group_weight(split(ones), FLIPS) == pytest.approx(published) == pytest.approx(weight, abs=1e-5)


def test_other_scores_weigh_by_the_share_of_their_variance_that_is_not_noise() -> None:
    assert group_weight(np.array([0.3, 0.7, 0.3, 0.7]), SOFT) == pytest.approx(1 - 0.01 / 0.04)
    assert group_weight(np.array([0.45, 0.55]), SOFT) == 0.0  # a variance of 0.0025, of which noise makes 0.01


def test_a_judge_without_noise_counts_in_full_and_a_coin_not_at_all() -> None:
    assert group_weight(split(1), JudgeNoise(0.0, flips=True)) == 1.0
    assert group_weight(split(4), JudgeNoise(0.25, flips=True)) == 0.0


def batch(
    scores: dict[str, Groups],
    noise: dict[str, JudgeNoise] | None,
    labels: list[tuple[str, str, float]] | None = None,
    gates: dict[str, float] | None = None,
) -> Batch:
    """A batch from scores by criterion and group, all weights equal; rollouts are called like p0-1."""
    groups = next(iter(scores.values()))
    ids = [(f"p{g}", f"p{g}-{i}") for g, group in enumerate(groups) for i in range(len(group))]
    rollouts = pl.DataFrame({"rollout_id": [each for _, each in ids], "prompt_id": [prompt for prompt, _ in ids]})
    table = pl.concat(
        pl.DataFrame(
            {
                "rollout_id": rollouts["rollout_id"],
                "criterion": name,
                "score": [score for group in groups for score in group],
            }
        )
        for name, groups in scores.items()
    )
    said = pl.DataFrame(labels, schema=["rollout_id", "criterion", "value"], orient="row") if labels else None
    return make_batch(rollouts, table, dict.fromkeys(scores, 1 / len(scores)), gates or {}, PLAIN, said, noise)


def test_without_noise_a_batch_is_what_it_was() -> None:
    scores = {"kind": [[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0]]}
    assert batch(scores, None).rows.equals(batch(scores, {}).rows)
    assert "group_weights" not in batch(scores, None).rows.columns
    assert count_damped(batch(scores, None).rows) == ({}, {})


def test_each_groups_signal_is_weighted_before_the_criteria_are_summed() -> None:
    """Kind is ±1 in both groups; its variances 0.04 and 0.0121 leave 0.75 and 0.17355 of it. The rule `short` is ±1."""
    scores = {"kind": [[0.7, 0.3], [0.61, 0.39]], "short": [[1.0, 0.0], [0.0, 1.0]]}
    made = batch(scores, {"kind": SOFT})
    signal = np.array([0.875, -0.875, (0.17355 - 1) / 2, (1 - 0.17355) / 2])
    assert made.rows["advantage"].to_list() == pytest.approx(list(signal / signal.std()), abs=1e-4)
    assert made.rows["reward"].to_list() == pytest.approx([0.85, 0.15, 0.305, 0.695])  # what people read is as it was
    assert [each["kind"] for each in made.rows["group_weights"]] == pytest.approx(
        [0.75, 0.75, 0.17355, 0.17355], abs=1e-5
    )
    assert count_damped(made.rows).metrics == {"group_weight_kind": pytest.approx(0.46178, abs=1e-5)}


def test_a_group_in_which_nothing_is_more_than_noise_is_excluded_for_that() -> None:
    scores = {"kind": [[0.55, 0.45], [0.9, 0.1], [0.5, 0.5]], "short": [[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]]}
    made = batch(scores, {"kind": SOFT})
    noisy, flat = "group within the judge's noise", "group without variance"
    assert made.rows["excluded"].to_list() == [noisy, noisy, None, None, flat, flat]
    assert made.rows["advantage"].to_list() == pytest.approx([0, 0, 1, -1, 0, 0])
    assert (made.groups, made.groups_used) == (3, 1)
    assert count_damped(made.rows).rows == {"groups_within_noise": 1}
    assert count_damped(made.rows).metrics == {"group_weight_kind": pytest.approx((0 + 1 - 0.01 / 0.16) / 2)}


def test_a_gate_still_teaches_where_the_scores_are_noise() -> None:
    scores = {"honest": [[0.0, 1.0, 1.0]], "kind": [[0.5, 0.55, 0.45]]}
    made = batch(scores, {"kind": SOFT}, gates={"honest": 0.5})
    assert made.rows["excluded"].to_list() == [None] * 3
    # the floor, −√½, against two zeros
    assert made.rows["advantage"].to_list() == pytest.approx([-math.sqrt(2), math.sqrt(0.5), math.sqrt(0.5)])


def test_a_group_labelled_by_people_has_no_judge_noise() -> None:
    scores = {"kind": [[0.5, 0.5], [0.55, 0.45]]}
    by_people = [("p0-0", "kind", 0.55), ("p0-1", "kind", 0.45)]
    made = batch(scores, {"kind": SOFT}, by_people)
    assert [each["kind"] for each in made.rows["group_weights"]] == [1.0, 1.0, 0.0, 0.0]
    assert made.rows["advantage"].to_list() == pytest.approx([1, -1, 0, 0])
    half = batch({"kind": [[0.5, 0.3]]}, {"kind": SOFT}, [("p0-0", "kind", 0.7)])  # 0.7 by people, 0.3 by the judge
    assert half.rows["group_weights"][0]["kind"] == pytest.approx(1 - 0.5 * 0.01 / 0.04)


def test_with_20_percent_flips_weighted_advantages_are_nearer_to_the_truth() -> None:
    """Groups of eight: to 3 prompts in 10 the policy is always right, to 3 always wrong, so all that differs there is
    flipped; to the others it is right half of the time."""
    rng = np.random.default_rng(0)
    rate_P = rng.choice([0.0, 0.5, 1.0], 1600, p=[0.3, 0.4, 0.3])
    true_PG = (rng.random((1600, 8)) < rate_P[:, None]).astype(float)
    seen_PG = np.where(rng.random((1600, 8)) < 0.2, 1 - true_PG, true_PG)
    weight_PG = [[group_weight(seen_G, JudgeNoise(0.16, flips=True))] * 8 for seen_G in seen_PG]
    truth_N = (true_PG - true_PG.mean(axis=1, keepdims=True)).ravel()
    group_N, use_N = np.repeat(np.arange(1600), 8), np.ones(12800, dtype=bool)

    def nearness(kept_NC: np.ndarray | None) -> float:
        score_NC = seen_PG.reshape(-1, 1)
        found, _ = advantages(score_NC, np.ones(1), ~use_N, group_N, use_N, Reward(), kept_NC)
        return float(np.corrcoef(found, truth_N)[0, 1])

    assert nearness(np.array(weight_PG).reshape(-1, 1)) > nearness(None) + 0.01
