"""The bootstrap behind every interval of an audit: whole prompts are drawn, all resamples at once.

Axes: N anchors, K prompts, R rows of weights. Row 0 is the sample itself (every prompt once), each further row one
resample, so a statistic is written once and gives its value and its spread together.
"""

from functools import cached_property

import numpy as np
import numpy.typing as npt

from rft_pipeline.stats import Interval


class Resamples:
    """How often each prompt counts, in the sample and in each of its resamples (Field and Welsh 2007)."""

    def __init__(self, prompts: npt.ArrayLike, resamples: int, seed: int) -> None:
        """`prompts` holds the prompt of each of N anchors."""
        names, self.prompt_N = np.unique(np.asarray(prompts), return_inverse=True)
        self.clusters = K = len(names)
        drawn_RK = np.random.default_rng(seed).multinomial(K, np.full(K, 1 / K), size=resamples if K else 0)
        self.times_RK = np.vstack([np.ones((1, K)), drawn_RK.reshape(-1, K)])

    @cached_property
    def times_RN(self) -> np.ndarray:
        """How often each anchor counts."""
        return np.asarray(self.times_RK[:, self.prompt_N])

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Sums over the anchors of an array whose first axis is N: R × the other axes."""
        sum_K = np.zeros((self.clusters, *values.shape[1:]))
        np.add.at(sum_K, self.prompt_N, values)
        return np.tensordot(self.times_RK, sum_K, axes=1)

    def interval(self, value_R: np.ndarray) -> Interval:
        """A statistic's value and its percentile interval; resamples where it is not defined (NaN) are left out.

        The bounds are NaN for a single prompt: nothing tells how another would differ.
        """
        drawn = value_R[1:][~np.isnan(value_R[1:])]
        if self.clusters < 2 or np.isnan(value_R[0]) or not drawn.size:
            return Interval(float(value_R[0]), float("nan"), float("nan"))
        lower, upper = np.percentile(drawn, [2.5, 97.5])
        return Interval(float(value_R[0]), float(lower), float(upper))


def ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """The quotient, NaN where the divisor is 0."""
    return np.divide(above, below, out=np.full(np.broadcast(above, below).shape, np.nan), where=below != 0)
