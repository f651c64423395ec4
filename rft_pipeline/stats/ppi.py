"""Prediction-powered means: a few labels by people correct many scores by a judge.

Axes: N rollouts, of which some are labelled; K prompts, the clusters.

With Y the labels and Ŷ the judge's scores, the estimate is λ·mean(Ŷ over all) + mean(Y − λŶ over the labelled), the
PPI++ of Angelopoulos, Duchi and Zrnic 2023 (arXiv 2311.01453); λ = 0 uses only people. Means over the labelled are
weighted by 1 / inclusion and divided by the sum of these weights (Hájek 1971), so labels may be drawn with unequal
probabilities. The labelled are among the N, and replies to one prompt are similar. The variance accounts for both: it
is a jackknife that leaves out one prompt at a time (Efron and Stein 1981) and recomputes λ each time. λ minimises this
variance. For labels drawn separately from the N, without clusters, it is the λ of PPI++.

The package ppi-python does not support clusters and assumes that the labelled are not among the N.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rft_pipeline.stats.intervals import Interval


class Estimates(NamedTuple):
    """Three estimates of one mean, each with an interval over the population of prompts."""

    judge: Interval
    """From the judge's scores alone, with its errors."""
    human: Interval
    """From the labelled rollouts alone."""
    powered: Interval
    """From both: unbiased for any judge, and narrower the better the judge."""
    power: float
    """λ ≥ 0: the weight of the judge."""
    labelled: int


def prediction_powered(
    judge: npt.ArrayLike,
    human: npt.ArrayLike,
    inclusion: npt.ArrayLike,
    clusters: npt.ArrayLike,
    error: float = 0.025,
) -> Estimates:
    """Estimates from N scores by the judge, N labels, N inclusion probabilities in (0, 1], and N clusters; each bound
    is wrong with probability `error`.

    A NaN label is missing, and its inclusion is ignored. A NaN score is left out of the judge's mean and is replaced by
    that mean elsewhere, which widens the interval but adds no bias. Labels that are all equal, or of fewer than two
    clusters, give NaN bounds; no labels give NaN. Raises `ValueError` for arrays of different length or an inclusion
    outside (0, 1].
    """
    judge_N, human_N, inclusion_N = (np.asarray(each, dtype=np.float64) for each in (judge, human, inclusion))
    _, cluster_N = np.unique(np.asarray(clusters), return_inverse=True)
    if len({judge_N.shape, human_N.shape, inclusion_N.shape, cluster_N.shape}) > 1:
        raise ValueError("scores, labels, inclusion probabilities and clusters must have the same length")
    labelled_N, scored_N = ~np.isnan(human_N), ~np.isnan(judge_N)
    if not ((inclusion_N[labelled_N] > 0) & (inclusion_N[labelled_N] <= 1)).all():
        raise ValueError("inclusion probabilities of labelled rollouts must be in (0, 1]")

    judged = _weighted(judge_N, scored_N.astype(np.float64), cluster_N)
    weight_N = np.zeros_like(human_N)
    weight_N[labelled_N] = 1 / inclusion_N[labelled_N]
    asked = _weighted(human_N, weight_N, cluster_N)
    guess_N = np.where(scored_N, judge_N, judged.mean if scored_N.any() else 0.0)
    everywhere = _weighted(guess_N, np.ones_like(guess_N), cluster_N)
    here = _weighted(guess_N, weight_N, cluster_N)

    gap = here.mean - everywhere.mean
    moves_K, gap_moves_K = asked.without_K - asked.mean, here.without_K - everywhere.without_K - gap
    together_K, spread_K = moves_K * gap_moves_K, gap_moves_K**2
    power = _power(together_K.sum(), spread_K.sum())
    if np.allclose(moves_K, 0, atol=1e-12):  # the variance of equal labels is unknown
        asked = asked._replace(without_K=np.full_like(moves_K, np.nan))
    with np.errstate(invalid="ignore"):
        power_K = _power(together_K.sum() - together_K, spread_K.sum() - spread_K)
        without_K = asked.without_K - power_K * (here.without_K - everywhere.without_K)
    return Estimates(
        judge=_interval(judged, judged.mean, judged.without_K, error),
        human=_interval(asked, asked.mean, asked.without_K, error),
        powered=_interval(asked, asked.mean - float(power) * gap, without_K, error),
        power=float(power),
        labelled=int(labelled_N.sum()),
    )


def unanimous(value: float, labelled: int, lowest: float, highest: float, error: float = 0.025) -> Interval:
    """Interval of a mean between `lowest` and `highest` if labels of n random clusters all equal `value`; each bound is
    wrong with probability `error`.

    If none of n differs, at most a share of 1 − error^(1/n) of all clusters does (Clopper and Pearson 1934), each by at
    most the distance to `lowest` or `highest`.
    """
    others = 1 - error ** (1 / labelled)
    return Interval(value, value + others * (lowest - value), value + others * (highest - value))


class _Mean(NamedTuple):
    mean: float
    without_K: np.ndarray
    """The mean without one cluster; equal to the mean for a cluster without weight."""
    share_K: np.ndarray
    """Each cluster's share of the weight."""


def _weighted(value_N: np.ndarray, weight_N: np.ndarray, cluster_N: np.ndarray) -> _Mean:
    """A weighted mean; values of weight 0 may be NaN. NaN without weight."""
    clusters = int(cluster_N.max(initial=-1)) + 1
    if not weight_N.any():
        return _Mean(float("nan"), np.full(clusters, np.nan), np.zeros(clusters))
    share_N = weight_N / weight_N.sum()
    used_N = np.where(weight_N > 0, value_N, 0.0)
    mean = float(share_N @ used_N)
    share_K = np.bincount(cluster_N, weights=share_N, minlength=clusters)
    moved_K = np.bincount(cluster_N, weights=share_N * (used_N - mean), minlength=clusters)
    with np.errstate(divide="ignore", invalid="ignore"):
        return _Mean(mean, mean - moved_K / (1 - share_K), share_K)


def _power(together: npt.ArrayLike, spread: npt.ArrayLike) -> np.ndarray:
    """together / spread, at least 0; 0 if the judge's scores do not differ."""
    together, spread = np.asarray(together), np.asarray(spread)
    power: np.ndarray = np.divide(together, spread, out=np.zeros_like(spread), where=spread > 1e-18).clip(min=0.0)
    return power


def _interval(weighted: _Mean, mean: float, without_K: np.ndarray, error: float) -> Interval:
    """Mean ± t · the jackknife's standard error, with the degrees of freedom of the weights (Kish 1965)."""
    from scipy.stats import t

    groups = int((weighted.share_K > 0).sum())
    if groups < 2:
        return Interval(mean)
    deviation = float(np.sqrt((groups - 1) / groups * ((without_K - mean) ** 2).sum()))
    free = max(1.0, 1 / float(weighted.share_K @ weighted.share_K) - 1)
    half = float(t.isf(error, free)) * deviation
    return Interval(mean, mean - half, mean + half)
