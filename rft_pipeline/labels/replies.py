"""The replies that people labelled, for the audit."""

from pathlib import Path

import polars as pl

from rft_pipeline.campaign.addresses import REPLY
from rft_pipeline.labels.exports import drawn_rows, exports_of


def labelled_replies(campaign: str, store: Path, labels: pl.DataFrame) -> pl.DataFrame:
    """The labelled replies, from the exports: rollout_id, prompt_id, messages, completion, finish_reason, fields;
    ordered by rollout_id."""
    wanted = set(labels["batch"])
    kept = [drawn_rows(export, store) for export in exports_of(campaign, store) if export.id in wanted]
    columns = ("rollout_id", "prompt_id", *REPLY)
    if not kept:
        return pl.DataFrame(schema=dict.fromkeys(columns, pl.String))
    rows = pl.concat([rows.select(columns) for rows in kept]).unique("rollout_id", keep="any")
    return rows.join(labels.select("rollout_id"), on="rollout_id", how="semi").sort("rollout_id")
