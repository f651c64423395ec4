"""The model the campaign starts from."""

import json
from typing import Any

from rft_pipeline.store import Record

from .stage import Binding


def _metadata(record: Record) -> dict[str, Any]:
    described = json.loads(record.path("policy.json").read_text(encoding="utf-8"))
    return {"model": described["name"], "source": described["source"], "weights": described["content_hash"]}


BINDING = Binding(
    stage="policy",
    kinds=frozenset({"huggingface", "safetensors"}),
    metadata=_metadata,
)
