"""Tables and pictures as metadata."""

import base64
import json
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from rft_pipeline.report.markdown import plain
from rft_pipeline.store import Record
from rft_pipeline.store.records import STEPS


def frame(record: Record) -> pl.DataFrame:
    """The table of a record."""
    return pl.read_parquet(record.path(f"{record.payload['stage']}.parquet"), glob=False)


def steps(record: Record) -> pl.DataFrame:
    """One row an optimiser step of a checkpoint: its number and metrics, NaN and infinities included."""
    lines = record.path(STEPS).read_text(encoding="utf-8").splitlines()
    return pl.DataFrame([json.loads(line) for line in lines], infer_schema_length=None)


def markdown(table: pl.DataFrame) -> dg.MarkdownMetadataValue:
    """A small table; its texts are escaped, so nothing in them is rendered as markup."""
    lines = [" | ".join(map(plain, table.columns)), " | ".join("---" for _ in table.columns)]
    lines += [" | ".join(_cell(value) for value in row) for row in table.iter_rows()]
    return dg.MetadataValue.md("\n".join(f"| {line} |" for line in lines))


def picture(path: Path) -> dg.MarkdownMetadataValue:
    """A PNG, inlined."""
    data = base64.b64encode(path.read_bytes()).decode()
    return dg.MetadataValue.md(f"![{path.stem}](data:image/png;base64,{data})")


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    text = str(value)
    return plain(text if len(text) <= 160 else f"{text[:157]}…")
