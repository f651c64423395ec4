"""Each criterion's judgement on each rollout."""

from typing import Any

import dagster as dg
import polars as pl

from rft_pipeline.campaign import Campaign
from rft_pipeline.store import Record

from .checks import judges_answer
from .stage import ACCELERATOR, check_spec, stage_asset
from .tables import frame, markdown


def judge_scores(campaign: Campaign, round_: int) -> dg.AssetsDefinition:
    name = f"round_{round_}/judge_scores"
    unscored = check_spec(campaign, name, "unscored_share", "Few enough judgements failed.")
    return stage_asset(
        campaign,
        name,
        description="One judgement a rollout and criterion; what failed is unscored, never a number.",
        kinds={"pytorch", "huggingface", "deltalake"},
        metadata=_metadata,
        checks=[(unscored, judges_answer)],
        pool=ACCELERATOR,
    )


def _metadata(record: Record) -> dict[str, Any]:
    rows = frame(record)
    score = pl.col("score")
    table = rows.group_by("criterion", maintain_order=True).agg(
        score.mean().alias("mean"),
        score.std().alias("std"),
        score.quantile(0.1).alias("p10"),
        score.quantile(0.9).alias("p90"),
        (pl.col("status") != "scored").mean().alias("unscored share"),
    )
    return {"dagster/row_count": rows.height, "scores": markdown(table)}
