"""Completions of a round's prompts, sampled by its policy."""

from typing import Any

from rft_pipeline.store import Record

from .checks import replies_finish
from .stage import AssetCheck, Binding
from .tables import frame, last_turn, markdown


def _metadata(record: Record) -> dict[str, Any]:
    rows = frame(record)
    sample = rows.filter(sample_index=0).head(8).select(last_turn, "completion", "finish_reason")
    return {"dagster/row_count": rows.height, "sample": markdown(sample)}


def _summary(record: Record) -> str:
    rows, metrics = record.rows, record.metrics
    return (
        f"**{rows['rollouts']} replies to {rows['prompts']} prompts**\n\n"
        f"Mean length {metrics['length_mean']:.1f} tokens; {metrics['truncated_share']:.0%} were cut off"
    )


BINDING = Binding(
    stage="rollouts",
    kind="deltalake",
    summary=_summary,
    metadata=_metadata,
    checks=(AssetCheck("truncation_share", "Few enough replies are cut off by the token budget.", replies_finish),),
)
