"""Statistics: intervals (bootstrap, Student's t, prediction-powered) and two measures of diversity."""

from rft_pipeline.stats.bootstrap import (
    Resamples,
    clustered_mean,
    means_by_prompt,
    paired_bounds,
    paired_difference,
    ratio,
)
from rft_pipeline.stats.intervals import UNKNOWN, Interval, distinct_n, null_if_nan, plain, repetition

__all__ = [
    "UNKNOWN",
    "Interval",
    "Resamples",
    "clustered_mean",
    "distinct_n",
    "means_by_prompt",
    "null_if_nan",
    "paired_bounds",
    "paired_difference",
    "plain",
    "ratio",
    "repetition",
]
