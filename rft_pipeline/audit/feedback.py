"""Do scores rank replies as the feedback of the users who saw them does?

Axes: N logged replies.
"""

from typing import NamedTuple

import numpy as np

from rft_pipeline.audit.labelled import Labelled
from rft_pipeline.audit.ranking import auc_interval
from rft_pipeline.prompts.feedback import NEUTRAL
from rft_pipeline.stats import Interval, Resamples


class Ranked(NamedTuple):
    """Agreement of scores with feedback."""

    agreement: Interval
    """Share of the pairs of a liked and a disliked reply where the liked one has the higher score (AUC); equal scores
    count half. 0.5 is chance. The interval is over prompts."""
    liked: int
    """Number of scored replies with feedback above the middle of its scale."""
    disliked: int


def ranked(prompt_N: np.ndarray, value_N: np.ndarray, score_N: np.ndarray, resamples: Resamples) -> Ranked:
    """From feedback in [0, 1] and scores (NaN for unscored); feedback in the middle says neither and is left out.
    `resamples` are of the replies' prompts."""
    told_N = (value_N != NEUTRAL) & ~np.isnan(score_N)
    told = Labelled(prompt_N[told_N], value_N[told_N], score_N[told_N])
    liked = int(told.good_N.sum())
    return Ranked(auc_interval(told, resamples.take(told_N)), liked, len(told.score_N) - liked)
