"""Prediction-powered means: a few labels by people correct many judgements by a judge.

Axes: N rollouts, of which some are labelled; K prompts, the clusters.

With Y the labels and Ŷ the judge's scores, the estimate is λ·mean(Ŷ over all) + mean(Y − λŶ over the labelled), the
PPI++ of Angelopoulos, Duchi and Zrnic 2023 (arXiv 2311.01453); λ = 0 asks only people. Means over the labelled are
weighted by 1 / inclusion and divided by the sum of these weights (Hájek 1971), so labels may be drawn more often where
they tell more. The labelled are among the N, and replies to one prompt resemble each other: both are in the variance,
a jackknife that leaves out one prompt at a time (Efron and Stein 1981) and chooses λ anew each time, and in λ, which
makes that variance least. For labels drawn at random beside the N and no clusters it is the λ of PPI++.

The package ppi-python knows no clusters and takes the labelled to be other rows than the N.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rft_pipeline.stats import Interval


class Estimates(NamedTuple):
    """Three estimates of one mean, each with its 95 % interval: over prompts such as these, not only these."""

    judge: Interval
    """What the judge says, right or wrong."""
    human: Interval
    """From the labelled rollouts alone."""
    powered: Interval
    """From both: right whatever the judge is like, and narrower the better the judge."""
    power: float
    """λ ≥ 0: how far the judge is used."""
    labelled: int

    def as_plain(self) -> dict[str, object]:
        """As JSON holds it: null for a bound that is not known."""
        intervals = {name: interval.as_plain() for name, interval in zip(self._fields[:3], self[:3], strict=True)}
        return {**intervals, "power": self.power, "labelled": self.labelled}


def prediction_powered(
    judge: npt.ArrayLike,
    human: npt.ArrayLike,
    inclusion: npt.ArrayLike,
    clusters: npt.ArrayLike,
    error: float = 0.025,
) -> Estimates:
    """Estimates from N scores by the judge, N labels, N inclusion probabilities in (0, 1], and N clusters; each bound
    is wrong with a chance of `error`.

    A label that is NaN was not given; its inclusion is not looked at. A score that is NaN is left out of the judge's
    mean and counts elsewhere as that mean, which widens the interval but adds no bias. Labels that are all alike or of
    fewer than two clusters give NaN bounds, none give NaN throughout. Raises `ValueError` for arrays of different
    length or a probability outside.
    """
    judge_N, human_N, inclusion_N = (np.asarray(each, dtype=np.float64) for each in (judge, human, inclusion))
    _, cluster_N = np.unique(np.asarray(clusters), return_inverse=True)
    if len({judge_N.shape, human_N.shape, inclusion_N.shape, cluster_N.shape}) > 1:
        raise ValueError("scores, labels, inclusion probabilities and clusters must be equally many")
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
    if np.allclose(moves_K, 0, atol=1e-12):  # labels that are all alike tell nothing of their spread
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
    """Of a mean between `lowest` and `highest`, where labels of so many clusters, drawn by chance, all say `value`;
    each bound is wrong with a chance of `error`.

    With none of n that differs, at most a share of 1 − error^(1/n) of all would (Clopper and Pearson 1934), and at
    worst each by as much as it can.
    """
    others = 1 - error ** (1 / labelled)
    return Interval(value, value + others * (lowest - value), value + others * (highest - value))


class _Mean(NamedTuple):
    mean: float
    without_K: np.ndarray
    """The mean when one cluster is left out; the mean itself for a cluster without weight."""
    share_K: np.ndarray
    """Each cluster's share of the weight."""


def _weighted(value_N: np.ndarray, weight_N: np.ndarray, cluster_N: np.ndarray) -> _Mean:
    """A weighted mean; values of weight 0 may be NaN. NaN when no weight is left."""
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
    """together / spread, at least 0; 0 where the judge's scores do not differ."""
    together, spread = np.asarray(together), np.asarray(spread)
    power: np.ndarray = np.divide(together, spread, out=np.zeros_like(spread), where=spread > 1e-18).clip(min=0.0)
    return power


def _interval(weighted: _Mean, mean: float, without_K: np.ndarray, error: float) -> Interval:
    """Mean ± t · the jackknife's standard error, with as many degrees of freedom as the weights leave (Kish 1965)."""
    from scipy.stats import t

    groups = int((weighted.share_K > 0).sum())
    if groups < 2:
        return Interval(mean)
    deviation = float(np.sqrt((groups - 1) / groups * ((without_K - mean) ** 2).sum()))
    free = max(1.0, 1 / float(weighted.share_K @ weighted.share_K) - 1)
    half = float(t.isf(error, free)) * deviation
    return Interval(mean, mean - half, mean + half)
