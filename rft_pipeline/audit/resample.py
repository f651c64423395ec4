"""The bootstrap of the audit: draws whole prompts, all resamples at once.

Axes: N anchors, K prompts, R rows of weights. Row 0 is the sample itself (every prompt once), every other row is a
resample, so that one expression gives a statistic's value and its spread.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rft_pipeline.stats import Interval


@dataclass(frozen=True)
class Resamples:
    """How often each prompt counts, in the sample and in each resample (Field and Welsh 2007).

    Drawn once per criterion: all its statistics use the same resamples.
    """

    prompt_N: np.ndarray
    """Index of each anchor's prompt among the K."""
    times_RK: np.ndarray

    @classmethod
    def draw(cls, prompts: npt.ArrayLike, resamples: int, seed: int) -> "Resamples":
        """`prompts` are the prompts of N anchors."""
        names, prompt_N = np.unique(np.asarray(prompts), return_inverse=True)
        K = len(names)
        if not K:
            return cls(prompt_N, np.ones((1, 0)))
        drawn_RK = np.random.default_rng(seed).multinomial(K, np.full(K, 1 / K), size=resamples)
        return cls(prompt_N, np.vstack([np.ones((1, K)), drawn_RK]))

    def take(self, which_N: np.ndarray) -> "Resamples":
        """The same resamples for some of the anchors."""
        kept_K, prompt_N = np.unique(self.prompt_N[which_N], return_inverse=True)
        return Resamples(prompt_N, self.times_RK[:, kept_K])

    @property
    def prompts(self) -> int:
        return int(self.times_RK.shape[1])

    @property
    def times_RN(self) -> np.ndarray:
        """How often each anchor counts."""
        return np.asarray(self.times_RK[:, self.prompt_N])

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Sums over the anchors of an array whose first axis is N: R × the other axes."""
        sum_K = np.zeros((self.prompts, *values.shape[1:]))
        np.add.at(sum_K, self.prompt_N, values)
        return np.tensordot(self.times_RK, sum_K, axes=1)

    def mean(self, value_N: np.ndarray, outside: float = 0.05) -> Interval:
        """Mean over the anchors; NaN values are left out."""
        known_N = ~np.isnan(value_N)
        drawn = self.take(known_N)
        return drawn.interval(ratio(drawn.sums(value_N[known_N]), drawn.sums(np.ones(known_N.sum()))), outside)

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


def ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """The quotient; NaN where the divisor is 0."""
    out = np.full(np.broadcast(above, below).shape, np.nan)
    np.divide(above, below, out=out, where=below != 0)
    return out
