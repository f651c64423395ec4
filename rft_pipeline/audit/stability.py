"""Stability: does a judge repeat its scores, and does it depend on the order in which replies are shown?

Axes: N anchors, R rows of weights.
"""

from typing import NamedTuple

import numpy as np

from rft_pipeline.stats import Interval, Resamples, ratio


class Retest(NamedTuple):
    """Test–retest: the same question asked twice."""

    replies: int
    """Replies that were scored both times."""
    shift: Interval
    """Mean distance between the two scores."""
    largest: float
    """Largest distance between the two scores."""
    crossed: Interval
    """Share of replies that pass the threshold only one of the two times."""


def retest(score_N: np.ndarray, retest_N: np.ndarray, threshold: float, resamples: Resamples) -> Retest | None:
    """From first and second scores, NaN where missing; None if nothing was scored twice."""
    apart_N = np.abs(retest_N - score_N)
    if np.isnan(apart_N).all():
        return None
    crossed_N = np.where(np.isnan(apart_N), np.nan, (score_N >= threshold) != (retest_N >= threshold))
    return Retest(
        int((~np.isnan(apart_N)).sum()), resamples.mean(apart_N), float(np.nanmax(apart_N)), resamples.mean(crossed_N)
    )


class Order(NamedTuple):
    """The effect of the order shown on pairwise verdicts."""

    pairs: int
    flips: Interval
    """Share of pairs whose verdict changes when the order is reversed; a tie is a verdict."""
    first: Interval
    """Win rate of the reply shown first, minus one half; a tie is half a win."""


def order_of_pairs(counts_NX: np.ndarray, resamples: Resamples) -> Order | None:
    """From counts per reply of a pairwise judge: its pairs, pairs whose verdict changed with the order, wins of the
    reply shown first, and wins of the other; NaN if unknown. None without pairs.

    Both replies of a pair count it, which does not change the shares; `pairs` counts it once.
    """
    known_N = ~np.isnan(counts_NX).any(axis=1)
    if not counts_NX[known_N, 0].any():
        return None
    drawn = resamples.take(known_N)
    pairs_R, flips_R, first_R, second_R = drawn.sums(counts_NX[known_N]).T
    return Order(
        int(counts_NX[known_N, 0].sum()) // 2,
        drawn.interval(ratio(flips_R, pairs_R)),
        drawn.interval(ratio(first_R - second_R, 4 * pairs_R)),
    )


def order_of_rankings(
    group_N: np.ndarray, place_N: np.ndarray, score_N: np.ndarray, retest_N: np.ndarray, resamples: Resamples
) -> Order | None:
    """From rankings of groups: the place where each reply was shown, its score, and its score when the group was shown
    in reverse order; NaN where missing. None without two ranked replies of a group.

    The order shown is random, so the better of two replies comes first half of the time.
    """
    count_NX = np.zeros((len(group_N), 4))
    for group in np.unique(group_N[~np.isnan(place_N)]):
        mine = np.flatnonzero((group_N == group) & ~np.isnan(place_N) & ~np.isnan(score_N))
        place, score, second = place_N[mine], score_N[mine], retest_N[mine]
        shown_first = place[:, None] < place[None, :]
        verdict = np.sign(score[:, None] - score[None, :])
        reversed_ = np.sign(second[:, None] - second[None, :])
        twice = shown_first & ~np.isnan(reversed_)
        counts = shown_first, shown_first * verdict / 2, twice, twice & (reversed_ != verdict)
        count_NX[mine] = np.stack([each.sum(1) for each in counts], axis=1)
    if not count_NX[:, 0].any():
        return None
    pairs_R, lean_R, twice_R, flips_R = resamples.sums(count_NX).T
    flips, first = resamples.interval(ratio(flips_R, twice_R)), resamples.interval(ratio(lean_R, pairs_R))
    return Order(int(count_NX[:, 0].sum()), flips, first)
