"""The batch a round trains on."""

from typing import Any

import polars as pl

from rft_pipeline.store import Record

from .checks import groups_can_teach
from .stage import Binding, Check, always
from .tables import frame, markdown


def _metadata(record: Record) -> dict[str, Any]:
    rows = frame(record)
    left_out = rows.group_by(pl.col("excluded").fill_null("(trains)").alias("why")).len().sort("len", descending=True)
    best = rows.sort("advantage", descending=True)
    shown = pl.concat([best.head(4), best.tail(4)]).select("advantage", "reward", "completion")
    return {"dagster/row_count": rows.height, "excluded": markdown(left_out), "best and worst": markdown(shown)}


BINDING = Binding(
    stage="reward_batches",
    description="Gates, rewards and the advantages that train; what is left out, and why.",
    kinds=frozenset({"polars", "parquet"}),
    metadata=_metadata,
    checks=(
        Check(
            "groups_with_variance", "Enough groups hold better and worse replies.", groups_can_teach, blocking=always
        ),
    ),
)
