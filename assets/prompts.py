"""The campaign's prompts, read, merged and split."""

from typing import Any

import polars as pl

from rft_pipeline.store import Record

from .checks import prompts_do_not_overlap
from .stage import AssetCheck, Binding, always
from .tables import frame, markdown


def _metadata(record: Record) -> dict[str, Any]:
    rows = frame(record)
    sample = rows.group_by("split", maintain_order=True).head(5)
    text = pl.col("messages").str.json_path_match("$[0].content").alias("prompt")
    return {"dagster/row_count": rows.height, "sample": markdown(sample.select("split", "id", text))}


def _summary(record: Record) -> str:
    rows = record.rows
    merged = f" {rows['merged']} duplicates were merged." if rows["merged"] else ""
    return f"**{rows['train']} train and {rows['eval']} held-out prompts.**{merged}"


BINDING = Binding(
    stage="prompts",
    kind="parquet",
    summary=_summary,
    metadata=_metadata,
    checks=(
        AssetCheck(
            "no_overlap",
            "No eval prompt equals or nearly equals a train prompt.",
            prompts_do_not_overlap,
            blocking=always,
        ),
    ),
)
