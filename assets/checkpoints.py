"""The policy after a round."""

from typing import Any

from rft_pipeline.store import Record

from .checks import training_is_finite
from .stage import AssetCheck, Binding, always
from .tables import bar, lines, markdown, shown, steps


def _metadata(record: Record) -> dict[str, Any]:
    return {"steps": markdown(steps(record))}


def _summary(record: Record) -> str:
    rows, metrics = record.rows, record.metrics
    learnt = f"{rows['references']} references" if "references" in rows else f"{rows['rollouts']} replies"
    words = {
        "effective_share": "effective share of the replies",
        "clip_ratio": "share of clipped tokens",
        "token_accuracy": "share of the references' tokens that the policy would have chosen",
    }
    table = [(words[name], f"{bar(metrics[name])} {metrics[name]:.2f}") for name in words if name in metrics]
    said = f"**{rows['steps']} optimiser steps on {learnt}**; loss of the last step {shown(metrics.get('loss'))}."
    return f"{said}\n\n{lines(table, ('last step', 'value'))}" if table else said


BINDING = Binding(
    stage="checkpoints",
    kind="safetensors",
    summary=_summary,
    metadata=_metadata,
    checks=(AssetCheck("finite", "Loss and gradient norm are finite.", training_is_finite, blocking=always),),
)
