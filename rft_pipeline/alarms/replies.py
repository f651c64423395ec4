"""Replies as the alarms read them: tables of one round each, and their changes from one round to another.

Axes: N replies, K prompts, R rows of resampling weights.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from rft_pipeline.audit import Resamples
from rft_pipeline.fingerprint import seed_of
from rft_pipeline.stats import Interval, paired_difference

STILL = 1e-6
"""Scores with a smaller standard deviation are all the same: what they differ by is rounding."""


@dataclass(frozen=True)
class Replies:
    """One policy's replies to the held-out prompts, which are the same in every round."""

    round: int
    """0 is base."""
    rows: pl.DataFrame
    """prompt_id, sample_index, completion, length, reward (null when unscored), held_out (the same; null throughout
    without a held-out judge)."""
    kl: Interval | None = None
    """KL to base in nats per reply, estimated on replies drawn at temperature 1; None where it was not."""

    @cached_property
    def means(self) -> dict[str, dict[str, float]]:
        """Of each column of numbers, each prompt's mean over its replies; prompts without one are left out."""
        columns = ("length", "reward", "held_out")
        rows = self.rows.select("prompt_id", pl.col(columns).cast(pl.Float64))
        mean = rows.group_by("prompt_id").agg(pl.col(columns).mean()).sort("prompt_id")
        return {column: dict(mean.select("prompt_id", column).drop_nulls().iter_rows()) for column in columns}

    @property
    def watched(self) -> bool:
        """Whether a held-out judge scored any of them."""
        return self.rows["held_out"].null_count() < self.rows.height


def change(now: Replies, then: Replies, column: str, resamples: int, seed: int) -> Interval:
    """Now minus then in a column's mean, paired by prompt; NaN where nothing is scored."""
    named = seed_of(seed, "alarm", column, now.round, then.round)
    return paired_difference(now.means[column], then.means[column], resamples, named)


def spread(replies: Replies, column: str) -> float:
    """Standard deviation of a column over replies; NaN for fewer than two, and where all are the same."""
    found = replies.rows[column].cast(pl.Float64).drop_nulls().std()
    return float(found) if isinstance(found, float) and found >= STILL else float("nan")


def agreement(base: Replies, resamples: Resamples) -> np.ndarray:
    """Correlation of reward and held-out score over base's replies, by resample; 0 where they are opposed, NaN
    where all scores of one are the same.

    `resamples` are of base's rows. With both in base's standard deviations, a judge that sees the same quality sees at
    least this share of a gain in reward: the share is √(held-out reliability ÷ reward reliability), and the correlation
    is that times the reward's reliability, at most 1 (errors in both variables, Fuller 1987). A gain of which less is
    seen was paid for something else. Two judges that agree in nothing leave nothing to be said.
    """
    score_N2 = base.rows.select(pl.col("reward", "held_out").cast(pl.Float64)).fill_null(float("nan")).to_numpy()
    there_N = ~np.isnan(score_N2).any(axis=1)
    x_N, y_N = score_N2[there_N].T
    moments_NX = np.stack([np.ones_like(x_N), x_N, y_N, x_N * x_N, y_N * y_N, x_N * y_N], axis=1)
    one, x, y, xx, yy, xy = resamples.take(there_N).sums(moments_NX).T
    with np.errstate(invalid="ignore", divide="ignore"):
        of_x, of_y = xx / one - (x / one) ** 2, yy / one - (y / one) ** 2
        moving_R = (of_x >= STILL**2) & (of_y >= STILL**2)
        found_R = np.where(moving_R, (xy / one - x * y / one**2) / np.sqrt(of_x * of_y), np.nan)
    return np.asarray(np.clip(found_R, 0, 1))


def rises(interval: Interval) -> bool:
    """Whether the whole interval lies above 0."""
    return bool(interval.lower95 > 0)


def does_not_rise(interval: Interval) -> bool:
    """Whether the whole interval lies at or below 0."""
    return bool(interval.upper95 <= 0)


def known(interval: Interval) -> bool:
    return not np.isnan(interval.lower95)
