"""A round's reward batch."""

from typing import Any

import polars as pl

from rft_pipeline.store import Record

from .checks import groups_have_variance
from .stage import AssetCheck, Binding, always
from .tables import bar, frame, last_turn, markdown, shown


def _metadata(record: Record) -> dict[str, Any]:
    rows = frame(record)
    reason = pl.col("excluded").fill_null("(not excluded)").alias("reason")
    excluded = rows.group_by(reason).agg(pl.len().alias("rollouts")).sort("rollouts", descending=True)
    best = rows.sort("advantage", descending=True)
    sample = pl.concat([best.head(4), best.tail(4)]).select("advantage", "reward", last_turn, "completion")
    return {"dagster/row_count": rows.height, "excluded": markdown(excluded), "best and worst": markdown(sample)}


def _summary(record: Record) -> str:
    rows, metrics = record.rows, record.metrics
    share = metrics["groups_used_share"]
    return (
        f"**Mean reward {shown(metrics.get('reward_mean'))}** over {rows['rollouts']} replies; a gate set "
        f"{rows['gated']} of them to 0.\n\n{bar(share)} {rows['groups_used']} of {rows['groups']} groups have "
        "something to learn from."
    )


BINDING = Binding(
    stage="reward_batches",
    kind="parquet",
    summary=_summary,
    metadata=_metadata,
    checks=(
        AssetCheck(
            "groups_with_variance", "Enough groups have variance to learn from.", groups_have_variance, blocking=always
        ),
    ),
)
