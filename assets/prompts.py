"""The campaign's prompts, read, merged and split."""

from typing import Any

import dagster as dg
import polars as pl

from rft_pipeline.campaign import Campaign
from rft_pipeline.store import Record

from .checks import prompts_do_not_overlap
from .stage import check_spec, stage_asset
from .tables import frame, markdown


def prompts(campaign: Campaign) -> dg.AssetsDefinition:
    overlap = check_spec(
        campaign, "prompts", "no_overlap", "No eval prompt is a train prompt, or nearly one.", blocking=True
    )
    return stage_asset(
        campaign,
        "prompts",
        description="Train and eval prompts, read from their sources; duplicates are merged, empties refused.",
        kinds={"polars", "parquet"},
        metadata=_metadata,
        checks=[(overlap, prompts_do_not_overlap)],
    )


def _metadata(record: Record) -> dict[str, Any]:
    rows = frame(record)
    sample = rows.group_by("split", maintain_order=True).head(5)
    text = pl.col("messages").str.json_path_match("$[0].content").alias("prompt")
    return {"dagster/row_count": rows.height, "sample": markdown(sample.select("split", "id", text))}
