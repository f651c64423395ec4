"""The policy after a round."""

from typing import Any

import dagster as dg

from rft_pipeline.campaign import Campaign
from rft_pipeline.store import Record

from .checks import training_is_finite
from .stage import ACCELERATOR, check_spec, stage_asset
from .tables import markdown, steps


def checkpoints(campaign: Campaign, round_: int) -> dg.AssetsDefinition:
    name = f"round_{round_}/checkpoints"
    finite = check_spec(campaign, name, "finite", "Loss and gradient stayed numbers.", blocking=True)
    return stage_asset(
        campaign,
        name,
        description="The policy trained on the round's batch: safetensors, full weights or a LoRA adapter.",
        kinds={"pytorch", "huggingface", "safetensors"},
        metadata=_metadata,
        checks=[(finite, training_is_finite)],
        pool=ACCELERATOR,
    )


def _metadata(record: Record) -> dict[str, Any]:
    return {"checkpoint": dg.MetadataValue.path(str(record.path("checkpoint"))), "steps": markdown(steps(record))}
