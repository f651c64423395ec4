"""A round's reward batch."""

from typing import Any

import polars as pl

from rft_pipeline.store import Record

from .checks import groups_have_variance
from .stage import Binding, Check, always
from .tables import frame, markdown


def _metadata(record: Record) -> dict[str, Any]:
    rows = frame(record)
    reason = pl.col("excluded").fill_null("(not excluded)").alias("reason")
    excluded = rows.group_by(reason).len().sort("len", descending=True)
    best = rows.sort("advantage", descending=True)
    shown = pl.concat([best.head(4), best.tail(4)]).select("advantage", "reward", "completion")
    return {"dagster/row_count": rows.height, "excluded": markdown(excluded), "best and worst": markdown(shown)}


BINDING = Binding(
    stage="reward_batches",
    kinds=frozenset({"polars", "parquet"}),
    metadata=_metadata,
    checks=(
        Check(
            "groups_with_variance", "Enough groups have variance to learn from.", groups_have_variance, blocking=always
        ),
    ),
)
