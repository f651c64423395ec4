"""The rows of the tables that a record uses: rollouts by id, judgements by criterion, judge and subject."""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import polars as pl

from rft_pipeline.campaign.addresses import (
    REPLY,
    JudgedCriterion,
    JudgementKey,
    as_rollout,
    judged_criteria_in,
)
from rft_pipeline.campaign.subjects import Shown, shown_to, subjects_of
from rft_pipeline.errors import StoreError
from rft_pipeline.rules import Rollout
from rft_pipeline.store import Record

FindRecord = Callable[[str], Record | None]
"""Finds a record by its address."""


class JudgedRows(NamedTuple):
    """The judgements of one criterion by one judge."""

    key: JudgementKey
    subjects: pl.DataFrame | None
    """One column, subject, as `short`; None when the replies are gone."""


def short(column: str) -> pl.Expr:
    """A 64-bit hash of each key in a column, in a quarter of its memory. Of 10 million keys and as many others, two
    have the same hash with a probability of 5 in a million; then a row counts as there or as needed that is not."""
    return pl.col(column).hash()


def read_columns(path: Path, columns: list[str]) -> pl.DataFrame:
    """Columns of a record's table. Raises `StoreError` when it cannot be read."""
    try:
        return pl.read_parquet(path, columns=columns, glob=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise StoreError(f"{path}: cannot be read: {error}; `rft verify` says what to do") from error


def judged_replies(record: Record, replies: Path | None) -> Iterator[JudgedRows]:
    """The judgements of the replies in a table by every criterion in a record's settings."""
    found: dict[Shown, pl.DataFrame] = {}
    for criterion in judged_criteria_in(record.payload):
        shown = shown_to(criterion.payload)
        if replies is not None and shown not in found:
            found[shown] = subjects_shown(_views(replies), criterion)
        yield JudgedRows(criterion.key, found.get(shown))


def subjects_shown(views: list[Rollout], criterion: JudgedCriterion) -> pl.DataFrame:
    """The distinct subjects of replies for one criterion, as `short`."""
    subjects = pl.DataFrame({"subject": subjects_of(views, criterion.payload)}, schema={"subject": pl.String})
    return subjects.select(short("subject")).unique()


@functools.lru_cache(maxsize=2)
def _views(replies: Path) -> list[Rollout]:
    """The distinct replies in a table."""
    rows = read_columns(replies, list(REPLY)).unique(maintain_order=True)
    return [as_rollout(row) for row in rows.iter_rows(named=True)]
