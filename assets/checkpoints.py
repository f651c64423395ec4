"""The policy after a round."""

from typing import Any

import dagster as dg

from rft_pipeline.store import Record

from .checks import training_is_finite
from .stage import Binding, Check, always
from .tables import markdown, steps


def _metadata(record: Record) -> dict[str, Any]:
    return {"checkpoint": dg.MetadataValue.path(str(record.path("checkpoint"))), "steps": markdown(steps(record))}


BINDING = Binding(
    stage="checkpoints",
    kinds=frozenset({"pytorch", "huggingface", "safetensors"}),
    metadata=_metadata,
    checks=(Check("finite", "Loss and gradient norm are finite.", training_is_finite, blocking=always),),
)
