"""Intervals and tests: bootstrap, prediction-powered estimates."""

from rft_pipeline.stats.intervals import (
    Interval,
    clustered_mean,
    distinct_n,
    paired_bounds,
    paired_difference,
    repetition,
)

__all__ = ["Interval", "clustered_mean", "distinct_n", "paired_bounds", "paired_difference", "repetition"]
