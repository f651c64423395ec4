"""Compares two records of one stage: inputs, results, and the scores of judged rollouts."""

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

import polars as pl

from rft_pipeline.campaign import Reward
from rft_pipeline.campaign.rubric import Rubric
from rft_pipeline.errors import ConfigError, StoreError
from rft_pipeline.lineage.diff.scores import ScoreDiff, ScoredRollouts, compare_scores
from rft_pipeline.pipeline.plan import Change, changes
from rft_pipeline.rewards.batch import make_batch
from rft_pipeline.store import Record, RecordStore

LONGEST = 300
"""Most characters shown of a setting: the difference is often at the end of a persona."""

DIGITS = 12
"""Digits shown of a hash."""


@dataclass(frozen=True)
class RecordDiff:
    """Record A compared with record B."""

    a: Record
    b: Record
    same_content: bool
    differences: list[str]
    """In inputs, settings and code version, in words."""
    rows: dict[str, tuple[int | None, int | None]]
    metrics: dict[str, tuple[float | None, float | None]]
    scores: ScoreDiff | None
    """For judge_scores and reward_batches."""

    def as_json(self) -> dict[str, Any]:
        """As plain data; pairs become `a` and `b`."""
        return {
            "a": self.a.address,
            "b": self.b.address,
            "same_content": self.same_content,
            "differences": self.differences,
            "rows": {name: {"a": a, "b": b} for name, (a, b) in self.rows.items()},
            "metrics": {name: {"a": a, "b": b} for name, (a, b) in self.metrics.items()},
            "scores": None if self.scores is None else asdict(self.scores),
        }


def compare_records(records: RecordStore, a: Record, b: Record) -> RecordDiff:
    """Compare two records of one stage.

    Raises `ConfigError` for two stages, `StoreError` when rollouts or rubric behind judge scores are gone.
    """
    stage, other = a.payload["stage"], b.payload["stage"]
    if stage != other:
        raise ConfigError(f"{a.address} is of stage {stage}, {b.address} of {other}; name two records of one stage")
    scores = None
    if stage in ("judge_scores", "reward_batches"):
        scores = compare_scores(_scored(records, a), _scored(records, b))
    return RecordDiff(
        a=a,
        b=b,
        same_content=a.content_hash == b.content_hash,
        differences=[_in_words(change, a, b) for change in changes(a.payload, b.payload)],
        rows={name: (a.rows.get(name), b.rows.get(name)) for name in {**a.rows, **b.rows}},
        metrics={name: (a.metrics.get(name), b.metrics.get(name)) for name in {**a.metrics, **b.metrics}},
        scores=scores,
    )


def criterion_in_words(change: Change) -> str:
    """A change between two mappings of criteria by name, in words."""
    name, *setting = change.path
    what = change.what(LONGEST)
    return f'criterion "{name}": {".".join(setting)} {what}' if setting else f'criterion "{name}": {what}'


def _in_words(change: Change, a: Record, b: Record) -> str:
    match change.path:
        case ("inputs", *rest):
            role = ".".join(rest)
            return f"input {role}: {_input(a, role)} → {_input(b, role)}"
        case ("settings", "criteria", *rest) if rest:
            return criterion_in_words(replace(change, path=tuple(rest)))
        case (area, *rest):
            return f"{'.'.join(rest) or area}: {change.what(LONGEST)}"
    raise AssertionError("a change has a path")


def _input(record: Record, role: str) -> str:
    """An input's record, or the first digits of its hash if it is not a record."""
    address = record.upstream.get(role)
    if address is not None:
        return address
    digits: str | None = record.payload["inputs"].get(role)
    return "none" if digits is None else digits[:DIGITS]


def _scored(records: RecordStore, record: Record) -> ScoredRollouts:
    frame = pl.read_parquet(record.path(f"{record.payload['stage']}.parquet"), glob=False)
    if record.payload["stage"] == "reward_batches":
        settings = record.payload["settings"]
        weights = {name: settings["weights"][name] for name in frame["scores"].struct.fields}
        return ScoredRollouts(frame, weights, settings["gates"])
    rollouts, rubric = _upstream(records, record, "rollouts"), _upstream(records, record, "rubric")
    asked = Rubric.model_validate(json.loads(rubric.path("rubric.json").read_text(encoding="utf-8")))
    return by_rubric(pl.read_parquet(rollouts.path("rollouts.parquet"), glob=False), frame, asked)


def by_rubric(rollouts: pl.DataFrame, scores: pl.DataFrame, rubric: Rubric) -> ScoredRollouts:
    """Rollouts with the rewards of a rubric; the settings under `reward:` do not change these."""
    weights, gates = rubric.weights(), rubric.gates()
    return ScoredRollouts(make_batch(rollouts, scores, weights, gates, Reward()).rows, weights, gates)


def _upstream(records: RecordStore, record: Record, role: str) -> Record:
    address = record.upstream.get(role)
    if address is None:
        raise StoreError(
            f"{record.address}: the record does not name the {role} it was made from; remove its folder and run again"
        )
    found = records.at(address)
    if found is None:
        raise StoreError(
            f"{record.address}: it was made from {address}, which is no longer in the store, so rewards are unknown"
        )
    return found
