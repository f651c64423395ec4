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


BINDING = Binding(
    stage="labels",
    kinds=frozenset({"deltalake", "polars"}),
    metadata=_metadata,
)
