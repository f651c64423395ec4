"""The batch a round trains on."""

from typing import Any

import dagster as dg
import polars as pl

from rft_pipeline.campaign import Campaign
from rft_pipeline.store import Record

from .checks import groups_can_teach
from .stage import check_spec, stage_asset
from .tables import frame, markdown


def reward_batches(campaign: Campaign, round_: int) -> dg.AssetsDefinition:
    name = f"round_{round_}/reward_batches"
    variance = check_spec(
        campaign, name, "groups_with_variance", "Enough groups hold better and worse replies.", blocking=True
    )
    return stage_asset(
        campaign,
        name,
        description="Gates, reward, and the advantage that trains; who is left out, and why.",
        kinds={"polars", "parquet"},
        metadata=_metadata,
        checks=[(variance, groups_can_teach)],
    )


def _metadata(record: Record) -> dict[str, Any]:
    rows = frame(record)
    left_out = rows.group_by(pl.col("excluded").fill_null("(trains)").alias("why")).len().sort("len", descending=True)
    best = rows.sort("advantage", descending=True)
    shown = pl.concat([best.head(4), best.tail(4)]).select("advantage", "reward", "completion")
    return {"dagster/row_count": rows.height, "excluded": markdown(left_out), "best and worst": markdown(shown)}
