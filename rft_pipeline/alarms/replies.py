"""The replies of one round as the alarms read them, and how their means change between rounds.

Axes: N replies, K prompts, R rows of resampling weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import polars as pl

from rft_pipeline.campaign.continuation import BASE
from rft_pipeline.evaluation.compare import round_name
from rft_pipeline.fingerprint import seed_of
from rft_pipeline.stats import Interval, Resamples, means_by_prompt, paired_difference

MIN_STD = 1e-6
"""Scores with a smaller standard deviation are equal up to rounding."""
EXAMPLES = 3
"""Replies that a finding shows."""


@dataclass(frozen=True, eq=False)
class Replies:
    """One policy's replies to the held-out prompts; all rounds answer the same prompts."""

    round: int
    """0 is the baseline, called base here, though in a cycle its name is `start`."""
    rows: pl.DataFrame
    """prompt_id, sample_index, completion, length, reward and held_out (null when unscored); system (the campaign's and
    the prompt's own system prompt, empty if there is none) and turns (the texts of the prompt's other turns)."""
    kl: Interval | None = None
    """KL to base in nats per reply, estimated on replies sampled at temperature 1; None if it was not estimated."""
    called: str = ""
    """Its name, if it is no round: `base`, `start` or `warm start`."""

    @property
    def name(self) -> str:
        """As sentences call it: `base`, `the start`, `the warm start`, `round 2`."""
        return f"the {self.called}" if self.called not in ("", BASE) else round_name(self.round)

    @cached_property
    def means(self) -> dict[str, dict[str, float]]:
        """Column → prompt → mean over the prompt's replies; prompts without a value are left out."""
        return {name: means_by_prompt(self.rows, pl.col(name)) for name in ("length", "reward", "held_out")}

    def examples(self, which_N: Sequence[bool]) -> tuple[str, ...]:
        """The first of these replies, at most one to a prompt."""
        rows = self.rows.filter(pl.Series(which_N, dtype=pl.Boolean))
        return tuple(rows.unique("prompt_id", keep="first", maintain_order=True)["completion"].head(EXAMPLES))

    @property
    def watched(self) -> bool:
        """Whether a judge of the alarms scored any of them."""
        return self.rows["held_out"].null_count() < self.rows.height


@lru_cache(maxsize=64)  # most alarms ask for the held-out change
def change(now: Replies, then: Replies, column: str, resamples: int, seed: int) -> Interval:
    """Change of a column's mean from `then` to `now`, paired by prompt; NaN if nothing is scored."""
    named = seed_of(seed, "alarm", column, now.round, then.round)
    return paired_difference(now.means[column], then.means[column], resamples, named)


def spread(replies: Replies, column: str) -> float:
    """Standard deviation of a column over replies; NaN for fewer than two values or if all are equal."""
    found = replies.rows[column].cast(pl.Float64).drop_nulls().std()
    return float(found) if isinstance(found, float) and found >= MIN_STD else float("nan")


def agreement(base: Replies, resamples: Resamples) -> np.ndarray:
    """Correlation of reward and score of the alarms' judge over base's replies, by resample of base's rows; 0 if it is
    negative, NaN if all scores of one are equal.

    If both judges measure the same quality, the alarms' judge sees at least this share of a gain in reward, both in
    base's standard deviations: the share is √(held-out reliability ÷ reward reliability), and the correlation is that
    times the reward's reliability, which is at most 1 (errors in both variables, Fuller 1987). If the alarms' judge
    sees less, something else raised the reward. If the judges do not agree at base, nothing can be concluded.
    """
    score_N2 = base.rows.select(pl.col("reward", "held_out").cast(pl.Float64)).to_numpy()
    scored_N = ~np.isnan(score_N2).any(axis=1)
    x_N, y_N = score_N2[scored_N].T
    moments_NX = np.stack([np.ones_like(x_N), x_N, y_N, x_N * x_N, y_N * y_N, x_N * y_N], axis=1)
    n, x, y, xx, yy, xy = resamples.take(scored_N).sums(moments_NX).T
    with np.errstate(invalid="ignore", divide="ignore"):
        var_x, var_y = xx / n - (x / n) ** 2, yy / n - (y / n) ** 2
        varies_R = (var_x >= MIN_STD**2) & (var_y >= MIN_STD**2)
        found_R = np.where(varies_R, (xy / n - x * y / n**2) / np.sqrt(var_x * var_y), np.nan)
    return np.asarray(np.clip(found_R, 0, 1))


def rises(interval: Interval) -> bool:
    """Whether the whole interval is above 0."""
    return bool(interval.lower95 > 0)


def does_not_rise(interval: Interval) -> bool:
    """Whether the whole interval is at or below 0."""
    return bool(interval.upper95 <= 0)


def known(interval: Interval) -> bool:
    return not np.isnan(interval.lower95)
