"""Completions of a round's prompts, sampled by its policy."""

from typing import Any

from rft_pipeline.store import Record

from .checks import replies_finish
from .stage import Binding, Check
from .tables import frame, markdown


def _metadata(record: Record) -> dict[str, Any]:
    rows = frame(record)
    sample = rows.filter(sample_index=0).head(8).select("finish_reason", "completion")
    return {"dagster/row_count": rows.height, "sample": markdown(sample)}


BINDING = Binding(
    stage="rollouts",
    kinds=frozenset({"pytorch", "huggingface", "deltalake"}),
    metadata=_metadata,
    checks=(Check("truncation_share", "Few enough replies are cut off by the token budget.", replies_finish),),
)
