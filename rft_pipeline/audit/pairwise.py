"""Do scores order two replies as people do? For pairs that people decided.

Axes: N pairs.
"""

from typing import NamedTuple

import numpy as np

from rft_pipeline.stats import Interval, Resamples

COIN = 0.5


class PairwiseAgreement(NamedTuple):
    """Agreement of scores with people's decided pairs."""

    share: Interval
    """Share of scored pairs where the reply that people prefer has the higher score; equal scores count half. 0.5 is
    chance. The interval is over prompts."""
    pairs: int
    """Number of pairs with two scored replies."""
    prompts: int
    unscored: int
    """Number of pairs that are left out because a reply has no score."""

    @property
    def against_people(self) -> bool:
        """Whether the whole interval is below chance."""
        return self.share.upper95 < COIN


def pairwise_agreement(better_N: np.ndarray, worse_N: np.ndarray, resamples: Resamples) -> PairwiseAgreement:
    """From the scores of the preferred and of the other replies, NaN for unscored; `resamples` are of the pairs'
    prompts."""
    apart_N = better_N - worse_N
    known_N = ~np.isnan(apart_N)
    right_N = (np.sign(apart_N) + 1) / 2
    prompts = resamples.take(known_N).prompts
    return PairwiseAgreement(resamples.mean(right_N), int(known_N.sum()), prompts, int((~known_N).sum()))
