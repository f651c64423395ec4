"""Intervals over prompts: replies to one prompt are similar, so whole prompts are resampled, never replies.

Axes: N values, K prompts, R rows of weights. Row 0 is the sample itself (every prompt once), every other row is a
resample, so that one expression gives a statistic's value and its spread.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from rft_pipeline.stats.intervals import Interval


@dataclass(frozen=True)
class Resamples:
    """How often each prompt counts, in the sample and in each resample (Field and Welsh 2007).

    Statistics that are compared use the same resamples.
    """

    prompt_N: np.ndarray
    """Index of each value's prompt among the K."""
    times_RK: np.ndarray

    @classmethod
    def draw(cls, prompts: npt.ArrayLike, resamples: int, seed: int) -> "Resamples":
        """`prompts` are the prompts of N values."""
        names, prompt_N = np.unique(np.asarray(prompts), return_inverse=True)
        K = len(names)
        if not K:
            return cls(prompt_N, np.ones((1, 0)))
        drawn_RK = np.random.default_rng(seed).multinomial(K, np.full(K, 1 / K), size=resamples)
        return cls(prompt_N, np.vstack([np.ones((1, K)), drawn_RK]))

    def take(self, which_N: np.ndarray) -> "Resamples":
        """The same resamples for some of the values."""
        kept_K, prompt_N = np.unique(self.prompt_N[which_N], return_inverse=True)
        return Resamples(prompt_N, self.times_RK[:, kept_K])

    @property
    def prompts(self) -> int:
        return int(self.times_RK.shape[1])

    @property
    def times_RN(self) -> np.ndarray:
        """How often each value counts."""
        return np.asarray(self.times_RK[:, self.prompt_N])

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Sums over the N of an array whose first axis is N: R × the other axes."""
        return np.tensordot(self.times_RK, self._by_prompt(values), axes=1)

    def centred(self, values: np.ndarray) -> np.ndarray:
        """Values (first axis N) minus their mean over the same prompt."""
        mean_K = (self._by_prompt(values).T / np.bincount(self.prompt_N)).T
        return np.asarray(values - mean_K[self.prompt_N])

    def means(self, value_N: np.ndarray) -> np.ndarray:
        """The mean in each row of weights."""
        return ratio(self.sums(value_N), self.sums(np.ones(len(value_N))))

    def mean(self, value_N: np.ndarray, outside: float = 0.05) -> Interval:
        """Mean over the values; NaN is left out."""
        known_N = ~np.isnan(value_N)
        drawn = self.take(known_N)
        return drawn.interval(drawn.means(value_N[known_N]), outside)

    def interval(self, value_R: np.ndarray, outside: float = 0.05) -> Interval:
        """A statistic's value and its percentile interval; resamples where it is NaN are left out.

        `outside` is the share of resamples outside the bounds: 0.05, or less if several intervals must hold jointly.
        For a single prompt the bounds are NaN.
        """
        drawn = value_R[1:][~np.isnan(value_R[1:])]
        if self.prompts < 2 or np.isnan(value_R[0]) or not drawn.size:
            return Interval(float(value_R[0]))
        lower, upper = np.quantile(drawn, [outside / 2, 1 - outside / 2])
        return Interval(float(value_R[0]), float(lower), float(upper))

    def _by_prompt(self, values: np.ndarray) -> np.ndarray:
        """Sums over the values of each prompt: K × the other axes."""
        sum_K = np.zeros((self.prompts, *values.shape[1:]))
        np.add.at(sum_K, self.prompt_N, values)
        return sum_K


def ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """The quotient; NaN where the divisor is 0."""
    out = np.full(np.broadcast(above, below).shape, np.nan)
    np.divide(above, below, out=out, where=below != 0)
    return out


def clustered_mean(values: npt.ArrayLike, clusters: npt.ArrayLike, resamples: int, seed: int) -> Interval:
    """Mean of N values with its interval over their K clusters, which may differ in size.

    NaN values are left out. One cluster gives its mean with NaN bounds; no values give NaN. With fewer than about 20
    clusters the interval is slightly too narrow. Raises `ValueError` if the lengths differ.
    """
    value_N, cluster_N = np.asarray(values, dtype=np.float64), np.asarray(clusters)
    if value_N.shape != cluster_N.shape:
        raise ValueError(f"{value_N.size} values and {cluster_N.size} clusters: each value needs one cluster")
    present_N = ~np.isnan(value_N)
    return Resamples.draw(cluster_N[present_N], resamples, seed).mean(value_N[present_N])


def paired_difference(
    a_by_cluster: Mapping[str, float], b_by_cluster: Mapping[str, float], resamples: int, seed: int
) -> Interval:
    """Mean of a minus b over the clusters in both, each given by its mean; bootstrapped over clusters.

    Clusters missing or NaN on one side are left out. Edge cases as in `clustered_mean`.
    """
    difference_K = _differences(a_by_cluster, b_by_cluster)
    return clustered_mean(difference_K, np.arange(len(difference_K)), resamples, seed)


def paired_bounds(a_by_cluster: Mapping[str, float], b_by_cluster: Mapping[str, float], error: float) -> Interval:
    """Mean of a minus b as in `paired_difference`, with Student's t bounds, each wrong with probability `error`.

    For errors that a bootstrap cannot resolve: 2000 resamples say nothing about a probability of 0.0001.
    """
    from scipy.stats import t

    difference_K = _differences(a_by_cluster, b_by_cluster)
    clusters = len(difference_K)
    mean = float(difference_K.mean()) if clusters else float("nan")
    if clusters < 2:
        return Interval(mean)
    half = float(t.isf(error, clusters - 1)) * float(difference_K.std(ddof=1)) / clusters**0.5
    return Interval(mean, mean - half, mean + half)


def means_by_prompt(rows: pl.DataFrame, what: pl.Expr) -> dict[str, float]:
    """Each prompt's mean over its replies with a value; prompts without one are left out. Sorted, so that the order of
    rows does not change a result."""
    table = rows.select("prompt_id", what.cast(pl.Float64).alias("value")).drop_nulls()
    return dict(table.group_by("prompt_id").agg(pl.col("value").mean()).sort("prompt_id").iter_rows())


def _differences(a_by_cluster: Mapping[str, float], b_by_cluster: Mapping[str, float]) -> np.ndarray:
    shared = [cluster for cluster in a_by_cluster if cluster in b_by_cluster]
    difference_K = np.array([a_by_cluster[cluster] - b_by_cluster[cluster] for cluster in shared], dtype=np.float64)
    return np.asarray(difference_K[~np.isnan(difference_K)])
