import math

import numpy as np
import pytest

from rft_pipeline.stats import Interval, clustered_mean, distinct_n, paired_difference, repetition


def test_two_unequal_clusters_give_the_mean_of_all_values_and_bounds_at_either_cluster() -> None:
    interval = clustered_mean([0.0, 0.0, 0.0, 1.0], ["a", "a", "a", "b"], resamples=1000, seed=0)
    assert interval == Interval(mean=0.25, lower95=0.0, upper95=1.0)


def test_equal_values_leave_no_doubt() -> None:
    assert clustered_mean([0.5] * 6, [1, 1, 2, 2, 3, 3], resamples=100, seed=0) == Interval(0.5, 0.5, 0.5)


def test_values_that_are_missing_are_left_out_with_their_cluster() -> None:
    values = [0.2, math.nan, 0.4, math.nan]
    assert clustered_mean(values, ["a", "a", "b", "c"], 500, seed=1) == clustered_mean([0.2, 0.4], ["a", "b"], 500, 1)


def test_one_cluster_has_a_mean_but_no_bounds() -> None:
    interval = clustered_mean([0.2, 0.4], ["a", "a"], resamples=100, seed=0)
    assert interval.mean == pytest.approx(0.3)
    assert math.isnan(interval.lower95)
    assert math.isnan(interval.upper95)


def test_no_values_have_no_mean() -> None:
    assert all(math.isnan(value) for value in clustered_mean([], [], resamples=100, seed=0))
    assert all(math.isnan(value) for value in clustered_mean([math.nan], ["a"], resamples=100, seed=0))


def test_a_cluster_is_needed_for_every_value() -> None:
    with pytest.raises(ValueError, match="2 values and 1 clusters"):
        clustered_mean([0.1, 0.2], ["a"], resamples=100, seed=0)


def test_the_seed_alone_fixes_the_interval() -> None:
    values, clusters = np.random.default_rng(0).random(40), np.arange(40)
    assert clustered_mean(values, clusters, 500, seed=7) == clustered_mean(values, clusters, 500, seed=7)
    assert clustered_mean(values, clusters, 500, seed=7) != clustered_mean(values, clusters, 500, seed=8)


def test_copies_of_a_reply_add_no_certainty() -> None:
    values = np.random.default_rng(0).random(30)
    once = clustered_mean(values, np.arange(30), 1000, seed=3)
    eight_times = clustered_mean(np.repeat(values, 8), np.repeat(np.arange(30), 8), 1000, seed=3)
    assert eight_times == pytest.approx(once)


def test_one_value_a_cluster_agrees_with_the_normal_interval() -> None:
    values = np.random.default_rng(2).normal(0.5, 0.2, 400)
    interval = clustered_mean(values, np.arange(400), 4000, seed=0)
    half_width = 1.96 * values.std() / math.sqrt(400)
    assert interval.lower95 == pytest.approx(interval.mean - half_width, abs=0.002)
    assert interval.upper95 == pytest.approx(interval.mean + half_width, abs=0.002)


def test_the_interval_covers_the_truth_where_one_blind_to_prompts_does_not() -> None:
    """40 prompts of 6 replies, two thirds of the variance between prompts; the true mean is 0."""
    rng = np.random.default_rng(11)
    prompts = np.repeat(np.arange(40), 6)
    covered = covered_blindly = 0
    for trial in range(300):
        values = rng.normal(0, math.sqrt(2), 40)[prompts] + rng.normal(0, 1, 240)
        clustered = clustered_mean(values, prompts, 400, seed=trial)
        blind = clustered_mean(values, np.arange(240), 400, seed=trial)
        covered += clustered.lower95 <= 0 <= clustered.upper95
        covered_blindly += blind.lower95 <= 0 <= blind.upper95
    assert 0.90 <= covered / 300 <= 0.98
    assert covered_blindly / 300 < 0.75


def test_a_paired_difference_is_a_minus_b_over_the_shared_clusters() -> None:
    tuned = {"p1": 0.5, "p2": 0.75, "p3": math.nan, "only tuned": 1.0}
    base = {"p1": 0.25, "p2": 0.5, "p3": 0.0, "only base": 0.0}
    assert paired_difference(tuned, base, resamples=200, seed=0) == Interval(0.25, 0.25, 0.25)


def test_pairing_removes_what_prompts_differ_in() -> None:
    ease = np.random.default_rng(5).normal(0, 1, 50)
    noise = np.random.default_rng(6).normal(0, 0.05, 50)
    base = {str(i): value for i, value in enumerate(ease)}
    tuned = {str(i): value + 0.1 + noise[i] for i, value in enumerate(ease)}
    interval = paired_difference(tuned, base, resamples=1000, seed=0)
    assert interval.mean == pytest.approx(0.1 + noise.mean())
    assert interval.upper95 - interval.lower95 < 0.04


def test_nothing_shared_has_no_difference() -> None:
    assert all(math.isnan(value) for value in paired_difference({"a": 1.0}, {"b": 1.0}, resamples=100, seed=0))


def test_distinct_two_counts_word_pairs_over_all_texts() -> None:
    # "thank you", "you very", "very much", then "thank you" again: 3 of 4 distinct.
    assert distinct_n(["Thank you very much.", "thank you!"], 2) == 0.75
    assert math.isnan(distinct_n(["", "one"], 2))


def test_repetition_is_the_share_of_triples_seen_before() -> None:
    # 6 words in a circle of 3: triples abc bca cab abc, so the last of 4 repeats.
    assert repetition("a b c a b c") == 0.25
    assert repetition("we are sorry about this") == 0.0
    assert repetition("sorry") == 0.0
