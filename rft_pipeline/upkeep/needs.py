"""Which rows of the tables a record holds results of: rollouts by id, judgements by criterion, judge and subject."""

import functools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from rft_pipeline.addresses import BY_RULE, as_rollout, judge_in, subject_of
from rft_pipeline.errors import StoreError
from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.store import Record

REPLY = ["messages", "completion", "finish_reason", "fields"]
"""The columns of a reply that its judges see."""


class Asked(NamedTuple):
    """A criterion and who decides it, as the judgements table spells them."""

    criterion: str
    judge: str


class Judged(NamedTuple):
    """What one criterion was asked about."""

    asked: Asked
    subjects: pl.DataFrame | None
    """One column, subject; None when the replies are gone or were not named, so that nobody can tell."""


def rollouts_of(record: Record) -> pl.DataFrame:
    """The rollout_id of every rollout a record holds; empty for stages that hold none."""
    stage = record.payload["stage"]
    if stage not in ("rollouts", "eval_reports"):
        return pl.DataFrame(schema={"rollout_id": pl.String})
    return _read(record.path(f"{stage}.parquet"), ["rollout_id"])


def judgements_of(record: Record, at: Callable[[str], Record | None]) -> Iterator[Judged]:
    """The judgements a record was made with; `at` finds an upstream record by its address."""
    match record.payload["stage"]:
        case "judge_scores":
            rollouts = at(record.upstream["rollouts"]) if record.upstream else None
            replies = None if rollouts is None else rollouts.path("rollouts.parquet")
        case "eval_reports":
            replies = record.path("eval_reports.parquet")
        case _:
            return
    judge = record.payload["inputs"].get("judge", "")
    for criterion in record.payload["settings"]["criteria"].values():
        asked, kind = asked_of(criterion, judge)
        yield Judged(
            asked, None if replies is None else _subjects(replies).select(pl.col(kind).alias("subject")).unique()
        )


def asked_of(criterion: Mapping[str, Any], judge: str) -> tuple[Asked, str]:
    """A criterion's payload as the table spells it, and which kind of subject it is shown: `model` or `rule`."""
    asked = Asked(fingerprint(criterion), judge_in(criterion, judge))
    return asked, "rule" if asked.judge == BY_RULE else "model"


@functools.lru_cache(maxsize=2)
def _subjects(replies: Path) -> pl.DataFrame:
    """What judges and rules were shown: a row a different reply, columns model and rule."""
    views = [as_rollout(row) for row in _read(replies, REPLY).unique().iter_rows(named=True)]
    return pl.DataFrame(
        {name: [subject_of(view, name == "model") for view in views] for name in ("model", "rule")},
        schema={"model": pl.String, "rule": pl.String},
    )


def _read(path: Path, columns: list[str]) -> pl.DataFrame:
    try:
        return pl.read_parquet(path, columns=columns)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise StoreError(f"{path}: cannot be read: {error}; `rft verify` says what to do") from error
