"""Group noise: how much of a criterion's spread within a group is more than its judge's noise.

Axes: N rollouts, C criteria, G rollouts of a group.

A criterion is scaled within its group, so a group whose scores differ hardly more than the judge errs would train as
loudly as one that it tells apart well. Each criterion's part in a group is weighted by what noise leaves of it.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import polars as pl

WITHIN_NOISE = "group within the judge's noise"
"""Why a group is excluded whose scores differ, but in no criterion by more than its judge errs."""

EQUAL = 1e-9
"""Scores that spread no more than this are equal: the mean of three times 0.1 is not quite 0.1."""


class JudgeNoise(NamedTuple):
    """The error of one score of a judge, as the audit measured it."""

    variance: float
    flips: bool
    """Whether the judge says 0 or 1 and nothing between, so that its errors are flips."""


def group_weight(score_G: np.ndarray, noise: JudgeNoise, by_judge: float = 1.0) -> float:
    """The weight in [0, 1] of one criterion in one group; 0 where its scores differ no more than noise does.

    With s² the variance of the group's scores (of all G, not G − 1), σ² the judge's noise, and h = max(0, 1 − σ²/s²)
    the share of the spread that is not noise: √h for flips, h for other scores. `by_judge` is the share of the scores
    that the judge gave; people's have none of its noise.

    For flips of a share p, σ² = p(1 − p), and √h is the weight of S-GRPO (arXiv 2508.05928),
    (1 − 2p) √(t(1 − t) / (r(1 − r))) with r the share of ones and t = (r − p) / (1 − 2p) that of true ones, 0 for t
    outside (0, 1): the correlation of noisy and true advantages. For other scores true spreads differ from group to
    group, and h, the reliability (the positive-part James–Stein factor), follows the true differences closer than √h.
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
    """N × C: each rollout's group's weights; 1 for rules, and for judges whose noise nobody measured.

    `counts_N` tells which rollouts a group's spread is taken over: those that are scored and pass the gates.
    """
    weight_NC = np.ones_like(score_NC)
    for place, name in enumerate(names):
        if name not in noise:
            continue
        for group in np.unique(group_N):
            mine = group_N == group
            there = mine & counts_N & ~np.isnan(score_NC[:, place])
            by_judge = 1.0 - float(by_people_NC[there, place].mean()) if there.any() else 1.0
            weight_NC[mine, place] = group_weight(score_NC[there, place], noise[name], by_judge) if there.any() else 0.0
    return weight_NC


class Damped(NamedTuple):
    """What noise took from a reward batch."""

    rows: dict[str, int]
    metrics: dict[str, float]


def count_damped(batch: pl.DataFrame) -> Damped:
    """`groups_within_noise`, and by criterion the mean weight over the groups in which its scores differ; nothing of a
    batch that no noise went into."""
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
