"""Does a judge say the same twice, and does it depend on the order in which it is shown what it compares?

Axes: N anchors, R rows of weights.
"""

from typing import NamedTuple

import numpy as np

from rft_pipeline.audit.bias import Order
from rft_pipeline.audit.resample import Resamples, ratio
from rft_pipeline.stats import Interval


class Retest(NamedTuple):
    """The same question twice."""

    replies: int
    """Scored both times."""
    shift: Interval
    """Mean distance of the two scores."""
    largest: float
    """The largest of these distances."""
    crossed: Interval
    """Share of replies that lie above the threshold one time and below it the other."""


def retest(score_N: np.ndarray, again_N: np.ndarray, threshold: float, resamples: Resamples) -> Retest | None:
    """From scores and second scores, NaN where there is none; None when nothing was scored twice."""
    apart_N = np.abs(again_N - score_N)
    if np.isnan(apart_N).all():
        return None
    crossed_N = np.where(np.isnan(apart_N), np.nan, (score_N >= threshold) != (again_N >= threshold))
    return Retest(
        int((~np.isnan(apart_N)).sum()), resamples.mean(apart_N), float(np.nanmax(apart_N)), resamples.mean(crossed_N)
    )


def order_of_pairs(count_NX: np.ndarray, resamples: Resamples) -> Order | None:
    """From the counts of a pairwise judge for each reply: its pairs, those whose winner changed with the order, how
    often the reply shown first won, and how often the other. NaN where there are none; None without any counts.

    Both replies of a pair count it, which changes no share; `pairs` counts it once.
    """
    counted_N = ~np.isnan(count_NX).any(axis=1)
    if not count_NX[counted_N, 0].any():
        return None
    drawn = resamples.take(counted_N)
    pairs_R, flips_R, first_R, second_R = drawn.sums(count_NX[counted_N]).T
    return Order(
        int(count_NX[counted_N, 0].sum()) // 2,
        drawn.interval(ratio(flips_R, pairs_R)),
        drawn.interval(ratio(first_R - second_R, 4 * pairs_R)),
    )


def order_of_rankings(
    group_N: np.ndarray, place_N: np.ndarray, score_N: np.ndarray, again_N: np.ndarray, resamples: Resamples
) -> Order | None:
    """From rankings of groups: where each reply was shown and how it scored, and its score when the group was shown in
    the opposite order. NaN where there is none; None without two ranked replies of a group.

    The order shown is one of chance, so the better of two stands before the other half of the time.
    """
    count_NX = np.zeros((len(group_N), 4))
    for group in np.unique(group_N[~np.isnan(place_N)]):
        mine = np.flatnonzero((group_N == group) & ~np.isnan(place_N) & ~np.isnan(score_N))
        place, score, again = place_N[mine], score_N[mine], again_N[mine]
        before = place[:, None] < place[None, :]
        ahead = np.sign(score[:, None] - score[None, :])
        turned = np.sign(again[:, None] - again[None, :])
        twice = before & ~np.isnan(turned)
        count_NX[mine] = np.stack(
            [before.sum(1), (before * ahead).sum(1) / 2, twice.sum(1), (twice & (turned != ahead)).sum(1)], axis=1
        )
    if not count_NX[:, 0].any():
        return None
    pairs_R, lean_R, twice_R, flips_R = resamples.sums(count_NX).T
    flips, first = resamples.interval(ratio(flips_R, twice_R)), resamples.interval(ratio(lean_R, pairs_R))
    return Order(int(count_NX[:, 0].sum()), flips, first)
