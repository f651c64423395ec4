"""What people said of rollouts: an asset of its own, so that an import shows as the cause of what follows."""

from typing import Any

import dagster as dg
import polars as pl

from rft_pipeline.campaign import Campaign
from rft_pipeline.store import Record

from .stage import stage_asset
from .tables import frame, markdown


def labels(campaign: Campaign) -> dg.AssetsDefinition:
    return stage_asset(
        campaign,
        "labels",
        description="What people said of rollouts; it takes the place of the judge's score.",
        kinds={"deltalake", "polars"},
        metadata=_metadata,
    )


def _metadata(record: Record) -> dict[str, Any]:
    rows = frame(record)
    table = rows.group_by("criterion", maintain_order=True).agg(
        pl.len().alias("labels"),
        pl.col("rollout_id").n_unique().alias("rollouts"),
        pl.col("annotator").n_unique().alias("annotators"),
        pl.col("value").mean().alias("mean"),
    )
    return {"dagster/row_count": rows.height, "labels": markdown(table)}
