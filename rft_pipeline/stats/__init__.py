"""Statistics: intervals (bootstrap, Student's t, prediction-powered) and two measures of diversity."""

from rft_pipeline.stats.intervals import (
    UNKNOWN,
    Interval,
    clustered_mean,
    distinct_n,
    null_if_nan,
    paired_bounds,
    paired_difference,
    plain,
    repetition,
)

__all__ = [
    "UNKNOWN",
    "Interval",
    "clustered_mean",
    "distinct_n",
    "null_if_nan",
    "paired_bounds",
    "paired_difference",
    "plain",
    "repetition",
]
