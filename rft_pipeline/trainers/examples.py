"""What the methods beside GRPO learn from: replies that a batch's rollouts or references hold, as tokens.

Axes: N examples, S steps of B examples. Examples come in a seeded order, another for each epoch. Every step is whole:
the last one is filled up with the first examples of one more epoch.
"""

import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import polars as pl

from rft_pipeline.errors import GateError
from rft_pipeline.fingerprint import seed_of
from rft_pipeline.rules.base import REFERENCE
from rft_pipeline.rules.values import text_of
from rft_pipeline.trainers.settings import Training

HALF = 0.5
"""What a reply that people judged must be worth more than to be imitated: they said yes rather than no."""

ROUNDING = 1e-9
"""Differences below this are none: 0.6 − 0.5 is a little less than 0.1 in floating point."""


class Example(NamedTuple):
    """A reply to imitate."""

    name: str
    prompt_tokens: list[int]
    tokens: list[int] | None
    """None for a reference, which has no tokens yet."""
    text: str = ""


class Pair(NamedTuple):
    """A reply to prefer over another one."""

    name: str
    prompt_tokens: list[int]
    chosen: list[int]
    rejected: list[int]


Item = TypeVar("Item", Example, Pair)


def best_of_groups(batch: pl.DataFrame, training: Training) -> list[Example]:
    """The `raft.best` rollouts of highest reward of each group that can teach, as far as they are better than the
    group's worst: what a gate stopped, or is as bad as the rest, is not imitated.

    Raises `GateError` when there is none.
    """
    found = [
        _example(row)
        for group in _groups(batch, training)
        for row in group[: training.raft.best]
        if row["reward"] > row["lowest"]
    ]
    return _some(found, "no group has a rollout to imitate")


def best_and_worst(batch: pl.DataFrame, training: Training) -> list[Pair]:
    """Of each group its best and worst rollout, where their rewards differ, by `dpo.margin` at least.

    Raises `GateError` when there is none.
    """
    found = []
    for group in _groups(batch, training):
        best, worst = group[0], group[-1]
        apart = best["reward"] - worst["reward"]
        if apart > ROUNDING and apart >= training.dpo.margin - ROUNDING and best["tokens"] != worst["tokens"]:
            found.append(Pair(best["prompt_id"], best["prompt_tokens"], best["tokens"], worst["tokens"]))
    return _some(found, f"no group's best and worst rewards differ by training.dpo.margin ({training.dpo.margin})")


def good_answers(batch: pl.DataFrame, training: Training, weights: Mapping[str, float]) -> list[Example]:
    """Of each prompt the reply that people found best, else the reference.

    A reply is worth the weighted mean of people's labels of it, `weights` by criterion, and 0 where a gate stopped it.
    It is imitated when it is worth more than one half, and more than another reply that is labelled for the same
    criteria.

    Raises `GateError` when no prompt has either.
    """
    found = []
    for rows in _by_prompt(batch):
        reference = text_of(json.loads(rows[0]["fields"]).get(REFERENCE)) if rows[0].get("fields") else None
        best = _preferred(rows, training, weights)
        if best is not None:
            found.append(_example(best))
        elif reference:
            found.append(Example(rows[0]["prompt_id"], rows[0]["prompt_tokens"], None, reference))
    return _some(found, f"no prompt has the field {REFERENCE!r}, and none has a reply that people preferred to another")


def _preferred(rows: list[dict[str, Any]], training: Training, weights: Mapping[str, float]) -> dict[str, Any] | None:
    """Of replies that people find equally good the one of the higher reward."""
    worth: dict[tuple[str, ...], list[tuple[float, dict[str, Any]]]] = defaultdict(list)
    for row in rows:
        names = tuple(sorted(name for name in row.get("labelled") or () if weights[name] > 0))
        cut = training.mask_truncated and row["finish_reason"] == "length"
        if names and row["reward"] is not None and not cut:
            mean = sum(weights[name] * row["scores"][name] for name in names) / sum(weights[name] for name in names)
            worth[names].append((0.0 if row["gated"] else mean, row))
    better = [
        (mean, row)
        for compared in worth.values()
        for mean, row in compared
        if mean > max(HALF, min(mean for mean, _ in compared)) + ROUNDING
    ]
    return max(better, key=lambda each: (each[0], _rank(each[1])), default=(0.0, None))[1]


def in_steps(examples: Sequence[Item], training: Training, seed: int) -> list[Item]:
    """S·B examples in the order they are learnt from."""
    wanted = steps(len(examples), training) * training.batch_size
    stream: list[Item] = []
    epoch = 0
    while len(stream) < wanted:
        stream += sorted(examples, key=lambda example: seed_of(seed, "training order", epoch, example.name))
        epoch += 1
    return stream[:wanted]


def steps(examples: int, training: Training) -> int:
    """S: the fewest whole steps that show each of so many examples `epochs` times."""
    return math.ceil(examples * training.epochs / training.batch_size)


def _groups(batch: pl.DataFrame, training: Training) -> Iterator[list[dict[str, Any]]]:
    """The live rollouts of each group of at least two, best first; `lowest` is the group's lowest reward, truncated
    rollouts included."""
    live = batch.filter(pl.col("excluded").is_null())
    live = live.with_columns(pl.col("reward").min().over("prompt_id").alias("lowest"))
    if training.mask_truncated:
        live = live.filter(pl.col("finish_reason") != "length")
    for rows in _by_prompt(live):
        if len(rows) > 1:
            yield sorted(rows, key=_rank, reverse=True)


def _by_prompt(batch: pl.DataFrame) -> Iterator[list[dict[str, Any]]]:
    ordered = batch.sort("prompt_id", "sample_index")
    for _, rows in ordered.group_by("prompt_id", maintain_order=True):
        yield rows.to_dicts()


def _rank(row: dict[str, Any]) -> tuple[float, float, int]:
    """By reward; of equal rewards by advantage, then the first that was sampled."""
    return row["reward"], row["advantage"], -row["sample_index"]


def _example(row: dict[str, Any]) -> Example:
    return Example(f"{row['prompt_id']}/{row['sample_index']}", row["prompt_tokens"], row["tokens"])


def _some(found: list[Item], otherwise: str) -> list[Item]:
    if not found:
        raise GateError(f"nothing to learn from: {otherwise}")
    return found
