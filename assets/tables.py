"""Tables and bars as metadata."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
import polars as pl

from rft_pipeline.report.markdown import plain, table_of
from rft_pipeline.store import Record
from rft_pipeline.store.records import STEPS

MOST_ROWS = 10
"""Rows of a table in a summary."""


def frame(record: Record) -> pl.DataFrame:
    """The table of a record."""
    return pl.read_parquet(record.path(f"{record.payload['stage']}.parquet"), glob=False)


def steps(record: Record) -> pl.DataFrame:
    """One row an optimiser step of a checkpoint: its number and metrics, NaN and infinities included."""
    lines = record.path(STEPS).read_text(encoding="utf-8").splitlines()
    return pl.DataFrame([json.loads(line) for line in lines], infer_schema_length=None)


def markdown(table: pl.DataFrame) -> dg.MarkdownMetadataValue:
    """A small table; its texts are escaped, so nothing in them is rendered as markup."""
    rows = [[_cell(value) for value in row] for row in table.iter_rows()]
    return dg.MetadataValue.md(table_of(rows, [plain(name) for name in table.columns]))


def lines(rows: Sequence[Sequence[str]], columns: Sequence[str]) -> str:
    """The first rows of a table for a summary, and how many more there are; the texts are ours or escaped."""
    more = f"\n\nand {len(rows) - MOST_ROWS} more, below" if len(rows) > MOST_ROWS else ""
    return table_of(rows[:MOST_ROWS], columns) + more


def bar(share: float | None, width: int = 10) -> str:
    """A share in [0, 1] as a bar of block characters; empty when unknown."""
    if share is None or share != share:
        return ""
    full = round(max(0.0, min(1.0, share)) * width)
    return "█" * full + "░" * (width - full)


def shown(number: float | None) -> str:
    return "unknown" if number is None else f"{number:.3f}"


def interval(estimate: Mapping[str, float | None]) -> str:
    """A difference with its 95 % interval."""
    mean, lower, upper = (estimate[name] for name in ("mean", "lower95", "upper95"))
    if mean is None or lower is None or upper is None:
        return "a change that one prompt cannot estimate"
    return f"{mean:+.3f} ({lower:+.3f} to {upper:+.3f})"


last_turn = pl.col("messages").str.json_path_match("$[-1].content").alias("prompt")
"""The last turn of the prompt, of a table with `messages`."""


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    text = "" if value is None else str(value)
    return plain(text if len(text) <= 160 else f"{text[:157]}…")
