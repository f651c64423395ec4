"""Group noise: the part of a criterion's variance within a group that exceeds its judge's noise.

Axes: N rollouts, C criteria, G rollouts of a group.

Criteria are scaled within their group, so a group whose scores differ only by noise would train as strongly as one with
real differences. So each criterion is weighted in each group by the share of its variance that is not noise.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import polars as pl

WITHIN_NOISE = "group within the judge's noise"
"""Reason to exclude a group whose scores differ in no criterion by more than the noise."""

EQUAL = 1e-9
"""Scores with a smaller standard deviation are equal up to rounding."""


class JudgeNoise(NamedTuple):
    """The error of one score of a judge, measured by the audit."""

    variance: float
    flips: bool
    """Whether the judge only gives 0 or 1, so that its errors are flips."""


def group_weight(score_G: np.ndarray, noise: JudgeNoise, by_judge: float = 1.0) -> float:
    """The weight in [0, 1] of one criterion in one group; 0 if its scores do not differ by more than the noise.

    With s² the variance of the group's scores (over G, not G − 1), σ² the judge's noise, and h = max(0, 1 − σ²/s²) the
    share of the variance that is not noise, the weight is √h for flips and h for other scores. `by_judge` is the share
    of the scores given by the judge; people's labels have no noise.

    For flips of a share p, σ² = p(1 − p), and √h is the weight of S-GRPO (arXiv 2508.05928),
    (1 − 2p) √(t(1 − t) / (r(1 − r))) with r the share of ones and t = (r − p) / (1 − 2p) that of true ones, 0 for t
    outside (0, 1): the correlation of noisy and true advantages. For other scores the true variance differs between
    groups, and h, the reliability (positive-part James–Stein factor), is closer to the true differences than √h.
    """
    spread = float(score_G.var())
    if not spread > EQUAL**2:
        return 0.0
    beyond = max(0.0, 1.0 - by_judge * noise.variance / spread)
    return math.sqrt(beyond) if noise.flips else beyond


def group_weights(
    names: list[str],
    score_NC: np.ndarray,
    by_people_NC: np.ndarray,
    group_N: np.ndarray,
    counts_N: np.ndarray,
    noise: Mapping[str, JudgeNoise],
) -> np.ndarray:
    """N × C weights of the criteria in each rollout's group; 1 for rules and for judges without measured noise.

    `counts_N` marks the rollouts whose scores give a group's variance: those that are scored and pass the gates.
    """
    weight_NC = np.ones_like(score_NC)
    for place, name in enumerate(names):
        if name not in noise:
            continue
        for group in np.unique(group_N):
            mine = group_N == group
            used = mine & counts_N & ~np.isnan(score_NC[:, place])
            by_judge = 1.0 - float(by_people_NC[used, place].mean()) if used.any() else 1.0
            weight_NC[mine, place] = group_weight(score_NC[used, place], noise[name], by_judge) if used.any() else 0.0
    return weight_NC


class Damped(NamedTuple):
    """The effect of noise on a reward batch, as rows and metrics of its record."""

    rows: dict[str, int]
    metrics: dict[str, float]


def count_damped(batch: pl.DataFrame) -> Damped:
    """`groups_within_noise`, and each criterion's mean weight over the groups where its scores differ; empty for a
    batch without noise."""
    if "group_weights" not in batch.columns:
        return Damped({}, {})
    lost = batch.filter(excluded=WITHIN_NOISE)["prompt_id"].n_unique()
    unscored = pl.col("excluded").fill_null("").str.starts_with("unscored")
    counts = batch.filter(~unscored & ~pl.col("gated"))
    metrics = {}
    for field in batch.schema["group_weights"].fields:  # type: ignore[attr-defined]
        weight, score = (pl.col(name).struct.field(field.name) for name in ("group_weights", "scores"))
        groups = counts.group_by("prompt_id").agg(weight.first().alias("weight"), score.n_unique().alias("scores"))
        mean = groups.filter(pl.col("scores") > 1)["weight"].mean()
        if isinstance(mean, float):
            metrics[f"group_weight_{field.name}"] = mean
    return Damped({"groups_within_noise": lost}, metrics)
