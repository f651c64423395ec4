"""The model the campaign starts from."""

import json
from typing import Any

from rft_pipeline.report.markdown import plain
from rft_pipeline.store import Record

from .stage import Binding


def _metadata(record: Record) -> dict[str, Any]:
    described = json.loads(record.path("policy.json").read_text(encoding="utf-8"))
    return {"model": described["name"], "source": described["source"], "weights": described["content_hash"]}


def _summary(record: Record) -> str:
    described = json.loads(record.path("policy.json").read_text(encoding="utf-8"))
    return f"**Starts from {plain(described['name'])}.**"


BINDING = Binding(
    stage="policy",
    kind="huggingface",
    summary=_summary,
    metadata=_metadata,
)
