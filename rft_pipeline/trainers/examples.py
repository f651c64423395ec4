"""Training examples of raft, dpo and sft, selected from a batch's rollouts and references.

Axes: N examples, S steps of B examples. For dpo and sft, each epoch has a seeded order of its own, and the last step is
filled up with the first examples of one more epoch.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import polars as pl

from rft_pipeline.errors import GateError
from rft_pipeline.fingerprint import seed_of
from rft_pipeline.rules.base import REFERENCE
from rft_pipeline.rules.values import text_of
from rft_pipeline.store.rows import ENVIRONMENT
from rft_pipeline.trainers.method import steps_for
from rft_pipeline.trainers.rows import TrainingRow

if TYPE_CHECKING:
    from rft_pipeline.trainers.settings import Training

COLUMNS = (
    "prompt_id",
    "sample_index",
    "prompt_tokens",
    "tokens",
    "advantage",
    "excluded",
    "reward",
    "finish_reason",
    "fields",
    "scores",
    "gated",
    "labelled",
)
"""The columns of a batch that determine the number of steps."""

HALF = 0.5
"""Minimum label value (exclusive) of a reply that is imitated."""

ROUNDING = 1e-9
"""Tolerance of comparisons: in floating point, 0.6 − 0.5 is slightly less than 0.1."""


class Example(NamedTuple):
    """A reply to imitate."""

    name: str
    prompt_tokens: list[int]
    tokens: list[int] | None
    """None for a reference, which is tokenised later."""
    text: str = ""
    rollout_id: str = ""
    masked: int = 0
    """How many of the first tokens do not count in the loss."""
    environment: Sequence[int] = ()
    """Positions of tokens that an environment wrote, which do not count either."""

    def row(self, group: str, tokens: list[int]) -> TrainingRow:
        """The row of a training session that imitates it."""
        return TrainingRow(
            group=group,
            prompt_tokens=self.prompt_tokens,
            tokens=tokens,
            logprobs=[],
            advantage=1.0,
            live=True,
            rollout_id=self.rollout_id,
            masked=self.masked,
            environment=self.environment,
        )


class PreferencePair(NamedTuple):
    """A preferred and a rejected reply."""

    name: str
    prompt_tokens: list[int]
    chosen: list[int]
    rejected: list[int]


Item = TypeVar("Item", Example, PreferencePair)


def best_of_groups(batch: pl.DataFrame, training: "Training") -> list[Example]:
    """The `raft.best` rollouts with the highest rewards of each group, if they are better than the group's worst."""
    return [
        _example(row, training)
        for group in _groups(batch, training)
        for row in group[: training.raft.best]
        if row["reward"] > row["lowest"]
    ]


PREFERRED = "preferred"
"""A column of batches with people's decided pairs: true for the reply that people prefer, false for the other."""


def best_and_worst(batch: pl.DataFrame, training: "Training") -> list[PreferencePair]:
    """For each prompt the pair that people decided (`PREFERRED`), whatever its rewards; else the best and worst rollout
    of its group, if their rewards differ by at least `dpo.margin`.

    Raises `GateError` if there is none.
    """
    found = list(_decided(batch, training))
    decided = {pair.name for pair in found}
    for group in _groups(batch, training):
        best, worst = group[0], group[-1]
        if best["prompt_id"] in decided:
            continue
        difference = best["reward"] - worst["reward"]
        if difference > ROUNDING and difference >= training.dpo.margin - ROUNDING and best["tokens"] != worst["tokens"]:
            found.append(PreferencePair(best["prompt_id"], best["prompt_tokens"], best["tokens"], worst["tokens"]))
    return some(found, f"no group's best and worst rewards differ by training.dpo.margin ({training.dpo.margin})")


def _decided(batch: pl.DataFrame, training: "Training") -> Iterator[PreferencePair]:
    """The pairs that people decided; with `mask_truncated`, without those that have a truncated reply."""
    if PREFERRED not in batch.columns:
        return
    rows = batch.drop_nulls(PREFERRED)
    if training.mask_truncated:
        rows = rows.filter(pl.col("finish_reason") != "length")
    for both in _by_prompt(rows):
        chosen, rejected = ([row for row in both if row[PREFERRED] is side] for side in (True, False))
        if chosen and rejected and chosen[0]["tokens"] != rejected[0]["tokens"]:
            yield PreferencePair(
                both[0]["prompt_id"], both[0]["prompt_tokens"], chosen[0]["tokens"], rejected[0]["tokens"]
            )


def good_answers(batch: pl.DataFrame, training: "Training", weights: Mapping[str, float]) -> list[Example]:
    """For each prompt, the reply with the best labels, or else the reference.

    The value of a reply is the weighted mean of its labels (`weights` by criterion), or 0 if it failed a gate. It is
    imitated if its value is above one half, and above that of another reply with labels for the same criteria.

    Raises `GateError` if no prompt has either.
    """
    found = []
    for rows in _by_prompt(batch):
        reference = text_of(json.loads(rows[0]["fields"]).get(REFERENCE)) if rows[0].get("fields") else None
        best = _preferred(rows, training, weights)
        if best is not None:
            found.append(_example(best, training))
        elif reference:
            found.append(Example(rows[0]["prompt_id"], rows[0]["prompt_tokens"], None, reference))
    return some(found, f"no prompt has the field {REFERENCE!r}, and none has a reply with better labels than another")


def _preferred(rows: list[dict[str, Any]], training: "Training", weights: Mapping[str, float]) -> dict[str, Any] | None:
    """The reply with the best labels; of equal ones, the one with the higher reward."""
    values: dict[tuple[str, ...], list[tuple[float, dict[str, Any]]]] = defaultdict(list)
    for row in rows:
        names = tuple(sorted(name for name in row.get("labelled") or () if weights[name] > 0))
        cut = training.mask_truncated and row["finish_reason"] == "length"
        if names and row["reward"] is not None and not cut:
            mean = sum(weights[name] * row["scores"][name] for name in names) / sum(weights[name] for name in names)
            values[names].append((0.0 if row["gated"] else mean, row))
    better = [
        (mean, row)
        for compared in values.values()
        for mean, row in compared
        if mean > max(HALF, min(mean for mean, _ in compared)) + ROUNDING
    ]
    return max(better, key=lambda each: (each[0], _rank(each[1])), default=(0.0, None))[1]


def in_steps(examples: Sequence[Item], training: "Training", seed: int) -> list[Item]:
    """S·B examples in training order."""
    wanted = steps_for(len(examples), training) * training.batch_size
    stream: list[Item] = []
    epoch = 0
    while len(stream) < wanted:
        stream += sorted(examples, key=lambda example: seed_of(seed, "training order", epoch, example.name))
        epoch += 1
    return stream[:wanted]


def _groups(batch: pl.DataFrame, training: "Training") -> Iterator[list[dict[str, Any]]]:
    """The usable rollouts of each group with at least two, best first. `lowest` is the group's lowest reward, including
    truncated rollouts."""
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
    """By reward, then advantage, then sampling order."""
    return row["reward"], row["advantage"], -row["sample_index"]


def _example(row: dict[str, Any], training: "Training") -> Example:
    name = f"{row['prompt_id']}/{row['sample_index']}"
    rollout_id = row.get("rollout_id", "")
    return Example(
        name,
        row["prompt_tokens"],
        row["tokens"],
        rollout_id=rollout_id,
        masked=masked(row, training),
        environment=environment(row),
    )


def masked(row: Mapping[str, Any], training: "Training") -> int:
    """How many of a rollout's first tokens do not count in the loss: those of its thought with `mask_thinking`."""
    return int(row["thought_tokens"]) if training.mask_thinking else 0


def environment(row: Mapping[str, Any]) -> list[int]:
    """The positions of a rollout's tokens that an environment wrote; only replayed rollouts have any."""
    return list(row.get(ENVIRONMENT) or ())


def some(found: list[Item], otherwise: str) -> list[Item]:
    """The items. Raises `GateError` if there is none."""
    if not found:
        raise GateError(f"nothing to learn from: {otherwise}")
    return found
