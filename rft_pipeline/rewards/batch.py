"""Reward batches: from scores to rewards and advantages.

Axes: N rollouts, C criteria, G rollouts of a group.

People's labels replace the judge's scores. Gates come first: a rollout that fails a gate is at the floor. `reward` is
the number that people read: the weighted mean over criteria, in [0, 1], 0 for a gated rollout. `advantage` is the
number that trains (GDPO, arXiv 2601.05242): each criterion is centred and scaled within its group, then weighted,
summed, divided by the batch's standard deviation, clipped and centred again. Without the scaling, the criterion with
the largest variance would dominate. With the judges' noise (`audit.by_group`), a criterion counts less in groups where
its scores differ little more than the noise.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import polars as pl

from rft_pipeline.rewards.group_noise import EQUAL, WITHIN_NOISE, JudgeNoise, group_weights
from rft_pipeline.rewards.settings import Reward

NO_VARIANCE = "group without variance"
"""Reason to exclude a group whose rollouts are all equally good."""
FLAT = 1e-6
"""A group whose combined signal has a smaller standard deviation is excluded."""


class Batch(NamedTuple):
    """A reward batch."""

    rows: pl.DataFrame
    """A row per rollout: the rollout's columns, `scores` by criterion, `labelled` (criteria whose score is people's),
    gated, reward, advantage, excluded (reason or null); with noise also `group_weights` by criterion."""
    groups: int
    groups_used: int


def make_batch(
    rollouts: pl.DataFrame,
    scores: pl.DataFrame,
    weights: dict[str, float],
    gates: dict[str, float],
    how: Reward,
    labels: pl.DataFrame | None = None,
    noise: Mapping[str, JudgeNoise] | None = None,
) -> Batch:
    """Join rollouts with their scores and compute reward and advantage.

    `scores` has rollout_id, criterion, score (null when unscored), `labels` rollout_id, criterion, value; several
    labels count as their mean. `weights` sum to 1. A rollout with an unscored gate, or an unscored criterion of weight
    above 0, is excluded: it is not in its group's baseline, and its advantage is 0. The order of the criteria does not
    matter. `noise` is that of the judges, by criterion; a group that has no signal beyond it is excluded with that
    reason.
    """
    scores = with_labels(scores, labels)
    wide = scores.pivot("criterion", index="rollout_id", values="score", maintain_order=True)
    table = rollouts.select("rollout_id").join(wide, on="rollout_id", how="left", maintain_order="left")
    names = sorted(weights)
    weight_C = np.array([weights[name] for name in names])
    score_NC = table.select(pl.col(names).cast(pl.Float64)).to_numpy().copy()

    needed_C = (weight_C > 0) | np.array([name in gates for name in names])
    unscored_N = (np.isnan(score_NC) & needed_C).any(axis=1)
    gated_N = np.zeros(table.height, dtype=bool)
    for name, threshold in gates.items():
        column = score_NC[:, names.index(name)]
        gated_N |= ~np.isnan(column) & (column < threshold)

    reward_N = np.where(gated_N, 0.0, reward_of(score_NC, weight_C))
    group_N = rollouts["prompt_id"].rank("dense").to_numpy() - 1
    by_people = scores.filter("labelled").group_by("rollout_id").agg(pl.col("criterion").sort().alias("labelled"))
    labelled = rollouts.select("rollout_id").join(by_people, on="rollout_id", how="left", maintain_order="left")
    labelled_N = labelled["labelled"].fill_null([])
    advantage_N, flat_N = advantages(score_NC, weight_C, gated_N, group_N, ~unscored_N, how)
    lost_N = np.zeros_like(flat_N)
    kept = []
    if noise:
        by_people_NC = np.array([[name in own for name in names] for own in labelled_N])
        kept_NC = group_weights(names, score_NC, by_people_NC, group_N, ~unscored_N & ~gated_N, noise)
        advantage_N, silent_N = advantages(score_NC, weight_C, gated_N, group_N, ~unscored_N, how, kept_NC)
        lost_N = silent_N & ~flat_N
        by_name = [pl.Series(name, kept_NC[:, names.index(name)]) for name in sorted(noise)]
        kept = [pl.DataFrame(by_name).select(pl.struct(sorted(noise)).alias("group_weights"))["group_weights"]]
    flat = [NO_VARIANCE if flat_N[i] else WITHIN_NOISE if lost_N[i] else None for i in range(len(flat_N))]
    reasons = [_why_excluded(names, needed_C, score_NC[i], bool(unscored_N[i]), flat[i]) for i in range(table.height)]
    rows = rollouts.with_columns(
        labelled_N,
        table.select(pl.struct(names).alias("scores"))["scores"],
        pl.Series("gated", gated_N),
        pl.Series("reward", reward_N).fill_nan(None),
        pl.Series("advantage", advantage_N),
        pl.Series("excluded", reasons, dtype=pl.String),
        *kept,
    )
    used = rows.filter(pl.col("excluded").is_null())["prompt_id"].n_unique()
    return Batch(rows, groups=rows["prompt_id"].n_unique(), groups_used=used)


def with_labels(scores: pl.DataFrame, labels: pl.DataFrame | None) -> pl.DataFrame:
    """Scores replaced by people's labels if there are any, and `labelled`, whether a score is people's."""
    if labels is None:
        return scores.with_columns(pl.lit(False).alias("labelled"))
    means = labels.group_by("rollout_id", "criterion").agg(pl.col("value").mean())
    joined = scores.join(means, on=["rollout_id", "criterion"], how="left", maintain_order="left")
    return joined.with_columns(
        pl.coalesce("value", "score").alias("score"), pl.col("value").is_not_null().alias("labelled")
    ).drop("value")


def reward_of(score_NC: np.ndarray, weight_C: np.ndarray) -> np.ndarray:
    """Weighted mean over the scored criteria, in [0, 1]; NaN if no criterion with weight is scored."""
    present_NC = ~np.isnan(score_NC) * weight_C
    total_N = present_NC.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        reward_N: np.ndarray = (np.nan_to_num(score_NC) * present_NC).sum(axis=1) / total_N
    return reward_N


def advantages(
    score_NC: np.ndarray,
    weight_C: np.ndarray,
    gated_N: np.ndarray,
    group_N: np.ndarray,
    use_N: np.ndarray,
    how: Reward,
    kept_NC: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Advantages, zero-mean over each group's used rollouts, and which rollouts are in a group without variance.

    `kept_NC` holds the weight of each criterion in each rollout's group; None is 1 everywhere.
    """
    signal_N = np.zeros(len(score_NC))
    flat_N = np.zeros(len(score_NC), dtype=bool)
    for group in np.unique(group_N):
        members = np.flatnonzero((group_N == group) & use_N)
        kept_C = None if kept_NC is None or not len(members) else kept_NC[members[0]]
        signal = _group_signal(score_NC[members], weight_C, gated_N[members], how.damping, kept_C)
        if len(members) < 2 or signal.std() < FLAT:
            flat_N[group_N == group] = True
        else:
            signal_N[members] = signal
    live_N = use_N & ~flat_N
    if live_N.any():
        signal_N[live_N] = np.clip(signal_N[live_N] / signal_N[live_N].std(), -how.clip, how.clip)
        for group in np.unique(group_N[live_N]):
            members = np.flatnonzero((group_N == group) & live_N)
            signal_N[members] -= signal_N[members].mean()
    return np.where(live_N, signal_N, 0.0), flat_N


def _group_signal(
    score_GC: np.ndarray, weight_C: np.ndarray, gated_G: np.ndarray, damping: float, kept_C: np.ndarray | None
) -> np.ndarray:
    """One group's criteria, each centred and scaled over the rollouts that pass the gates, weighted and summed.

    A gated rollout gets the floor: the signal of the group's worst other rollout, but at least one standard deviation
    of the sum (‖w‖ for independent criteria) below the mean. Its own scores are not used, or every criterion would
    learn the gate too. `kept_C` does not change the floor: gates have no noise.
    """
    weighted_PC = score_GC[~gated_G][:, weight_C > 0]
    floor = -float(np.linalg.norm(weight_C))
    signal_G = np.full(len(score_GC), floor)
    if len(weighted_PC):
        centred_PC = weighted_PC - weighted_PC.mean(axis=0)
        spread_C = weighted_PC.std(axis=0) + damping
        scaled_PC = np.divide(centred_PC, spread_C, out=np.zeros_like(centred_PC), where=spread_C > EQUAL)
        if kept_C is not None:
            scaled_PC *= kept_C[weight_C > 0]
        passed_P = scaled_PC @ weight_C[weight_C > 0]
        signal_G[~gated_G] = passed_P
        signal_G[gated_G] = min(floor, passed_P.min())
    return signal_G


def _why_excluded(
    names: list[str], needed_C: np.ndarray, score_C: np.ndarray, unscored: bool, flat: str | None
) -> str | None:
    if unscored:
        missing = [name for name, needed, s in zip(names, needed_C, score_C, strict=True) if needed and np.isnan(s)]
        return f"unscored: {', '.join(missing)}"
    return flat
