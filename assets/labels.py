"""People's labels of rollouts; a separate asset, so that Dagster shows an import as the cause of stale assets."""

from typing import Any

import polars as pl

from rft_pipeline.store import Record

from .stage import Binding
from .tables import frame, markdown


def _metadata(record: Record) -> dict[str, Any]:
    rows = frame(record)
    table = rows.group_by("criterion", maintain_order=True).agg(
        pl.len().alias("labels"),
        pl.col("rollout_id").n_unique().alias("rollouts"),
        pl.col("annotator").n_unique().alias("annotators"),
        pl.col("value").mean().alias("mean"),
    )
    return {"dagster/row_count": rows.height, "labels": markdown(table)}


def _summary(record: Record) -> str:
    rows, campaign = record.rows, record.key.partition("/")[0]
    if not rows["labels"]:
        return f"**No labels yet.**\n\nNext: `rft labels export {campaign} --n 60`"
    return f"**{rows['labels']} labels of {rows['rollouts']} replies by {rows['annotators']} people.**"


BINDING = Binding(
    stage="labels",
    kind="deltalake",
    summary=_summary,
    metadata=_metadata,
)
