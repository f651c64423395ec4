"""Statistics of an evaluation: intervals clustered by prompt, and two measures of diversity.

Axes: N values, K clusters, R resamples. Replies to one prompt are similar, so prompts are resampled, never replies.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from rft_pipeline.rules.words import words


class Interval(NamedTuple):
    """A mean and its interval: 95 %, unless the function that made it was given another `error`. NaN is unknown."""

    mean: float
    lower95: float = float("nan")
    upper95: float = float("nan")

    def as_plain(self) -> dict[str, float | None]:
        """As JSON holds it: null where a number is unknown."""
        return {name: null_if_nan(value) for name, value in self._asdict().items()}

    @classmethod
    def from_plain(cls, plain: Mapping[str, float | None]) -> "Interval":
        """From what `as_plain` returned."""
        return cls(**{name: float("nan") if value is None else value for name, value in plain.items()})


UNKNOWN = Interval(float("nan"))


def null_if_nan(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def plain(value: Any) -> Any:
    """As JSON holds it: named tuples as objects, null where a number is NaN."""
    if hasattr(value, "_asdict"):
        return {name: plain(each) for name, each in value._asdict().items()}
    return null_if_nan(value) if isinstance(value, float) else value


def clustered_mean(values: npt.ArrayLike, clusters: npt.ArrayLike, resamples: int, seed: int) -> Interval:
    """Mean of N values with a percentile bootstrap interval over their K clusters (Field and Welsh 2007).

    Whole clusters are drawn with replacement, and each resample's mean is the ratio of its sum to its count, so
    clusters may differ in size. NaN values are left out. One cluster gives its mean with NaN bounds; no values give
    NaN. With fewer than about 20 clusters the interval is slightly too narrow. Raises `ValueError` if the lengths
    differ.
    """
    value_N = np.asarray(values, dtype=np.float64)
    cluster_N = np.asarray(clusters)
    if value_N.shape != cluster_N.shape:
        raise ValueError(f"{value_N.size} values and {cluster_N.size} clusters: each value needs one cluster")
    present_N = ~np.isnan(value_N)
    _, index_N = np.unique(cluster_N[present_N], return_inverse=True)
    sum_K = np.bincount(index_N, weights=value_N[present_N])
    return _bootstrap(sum_K, np.bincount(index_N).astype(np.float64), resamples, seed)


def paired_difference(
    a_by_cluster: Mapping[str, float], b_by_cluster: Mapping[str, float], resamples: int, seed: int
) -> Interval:
    """Mean of a minus b over the clusters in both, each given by its mean; bootstrapped over clusters.

    Clusters missing or NaN on one side are left out. Edge cases as in `clustered_mean`.
    """
    difference_K = _differences(a_by_cluster, b_by_cluster)
    return _bootstrap(difference_K, np.ones_like(difference_K), resamples, seed)


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


def distinct_n(texts: Sequence[str], n: int) -> float:
    """Distinct n-grams of words as a share of all n-grams in `texts`, in (0, 1]; NaN without n-grams.

    After Li et al. 2016 (arXiv 1510.03055). Falls with the amount of text: compare sets of equal size.
    """
    grams = [gram for text in texts for gram in _ngrams(text, n)]
    return len(set(grams)) / len(grams) if grams else float("nan")


def repetition(text: str, n: int = 3) -> float:
    """Share of the n-grams of words in `text` that repeat an earlier one, in [0, 1); 0 without n-grams."""
    grams = list(_ngrams(text, n))
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def _differences(a_by_cluster: Mapping[str, float], b_by_cluster: Mapping[str, float]) -> np.ndarray:
    shared = [cluster for cluster in a_by_cluster if cluster in b_by_cluster]
    difference_K = np.array([a_by_cluster[cluster] - b_by_cluster[cluster] for cluster in shared], dtype=np.float64)
    return np.asarray(difference_K[~np.isnan(difference_K)])


def _bootstrap(sum_K: np.ndarray, count_K: np.ndarray, resamples: int, seed: int) -> Interval:
    clusters = len(sum_K)
    if clusters == 0:
        return UNKNOWN
    mean = float(sum_K.sum() / count_K.sum())
    if clusters == 1:
        return Interval(mean)
    times_RK = np.random.default_rng(seed).multinomial(clusters, np.full(clusters, 1 / clusters), size=resamples)
    mean_R = (times_RK @ sum_K) / (times_RK @ count_K)
    lower, upper = np.percentile(mean_R, [2.5, 97.5])
    return Interval(mean, float(lower), float(upper))


def _ngrams(text: str, n: int) -> Iterator[tuple[str, ...]]:
    tokens = words(text.lower())
    return zip(*(tokens[start:] for start in range(n)), strict=False)
