"""Which rows of the tables a record holds results of: rollouts by id, judgements by criterion, judge and subject."""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import polars as pl

from rft_pipeline.alarms.watch import ASKED, ASKED_FILE
from rft_pipeline.campaign.addresses import (
    REPLY,
    JudgedCriterion,
    JudgementKey,
    as_rollout,
    judged_criteria_in,
    retest_judge_id,
    subjects_of,
)
from rft_pipeline.errors import StoreError
from rft_pipeline.evaluation.kl import KL_FILE
from rft_pipeline.rules import Rollout
from rft_pipeline.store import Record


class Judged(NamedTuple):
    """What one criterion was asked about."""

    key: JudgementKey
    subjects: pl.DataFrame | None
    """One column, subject; None when the replies are gone or were not named, so that nobody can tell."""


def rollouts_of(record: Record) -> pl.DataFrame:
    """The rollout_id of every rollout a record holds; empty for stages that hold none."""
    stage = record.payload["stage"]
    if stage not in ("rollouts", "eval_reports") and not _samples_a_champion(record):
        return pl.DataFrame(schema={"rollout_id": pl.String})
    held = _read(record.path(f"{stage}.parquet"), ["rollout_id"])
    path = record.folder / KL_FILE
    return pl.concat([held, _read(path, ["rollout_id"])]).unique() if path.is_file() else held


def judgements_of(record: Record, at: Callable[[str], Record | None]) -> Iterator[Judged]:
    """The judgements a record was made with; `at` finds an upstream record by its address."""
    match record.payload["stage"]:
        case "judge_scores":
            rollouts = at(record.upstream["rollouts"])
            replies = None if rollouts is None else rollouts.path("rollouts.parquet")
        case "eval_reports":
            replies = record.path("eval_reports.parquet")
            yield from _of_alarms(record)
        case "promotion" if _samples_a_champion(record):
            replies = record.path("promotion.parquet")
        case "judge_audit":
            yield from _of_anchors(record)
            return
        case _:
            return
    for asked in judged_criteria_in(record.payload):
        yield Judged(asked.key, None if replies is None else _subjects(replies, asked))


def _samples_a_champion(record: Record) -> bool:
    """Whether a promotion had to sample and judge a champion that no eval report holds."""
    return record.payload["stage"] == "promotion" and (record.folder / "promotion.parquet").is_file()


def _of_alarms(record: Record) -> Iterator[Judged]:
    """What the alarms asked about anchors."""
    path = record.folder / ASKED_FILE
    if not path.is_file():
        return
    for (criterion, judge), rows in _read(path, ASKED.names()).group_by("criterion", "judge", maintain_order=True):
        yield Judged(JudgementKey(str(criterion), str(judge)), rows.select("subject"))


def _of_anchors(record: Record) -> Iterator[Judged]:
    """Each judge was asked about the replies labelled for its criterion and their edits, some of them twice."""
    rows = _read(record.path("judge_audit.parquet"), [*REPLY, "criterion", "repeated"])
    repeated = rows.filter("repeated").drop("repeated")
    rows = rows.drop("repeated")
    for asked in judged_criteria_in(record.payload):
        mine = pl.col("criterion") == asked.name.partition(".")[0]
        yield Judged(asked.key, _shown(rows.filter(mine), asked))
        if not repeated.filter(mine).is_empty():
            yield Judged(
                JudgementKey(asked.key.criterion, retest_judge_id(asked.judge)), _shown(repeated.filter(mine), asked)
            )


def _shown(rows: pl.DataFrame, asked: JudgedCriterion) -> pl.DataFrame:
    views = [as_rollout(row) for row in rows.drop("criterion").unique().iter_rows(named=True)]
    return pl.DataFrame({"subject": subjects_of(views, asked.payload)}, schema={"subject": pl.String}).unique()


def _subjects(replies: Path, asked: JudgedCriterion) -> pl.DataFrame:
    views = _views(replies)
    return pl.DataFrame({"subject": subjects_of(views, asked.payload)}, schema={"subject": pl.String}).unique()


@functools.lru_cache(maxsize=2)
def _views(replies: Path) -> list[Rollout]:
    """The different replies of a record."""
    return [as_rollout(row) for row in _read(replies, list(REPLY)).unique().iter_rows(named=True)]


def _read(path: Path, columns: list[str]) -> pl.DataFrame:
    try:
        return pl.read_parquet(path, columns=columns, glob=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise StoreError(f"{path}: cannot be read: {error}; `rft verify` says what to do") from error
