"""The model the campaign starts from."""

import json
from typing import Any

import dagster as dg

from rft_pipeline.campaign import Campaign
from rft_pipeline.store import Record

from .stage import stage_asset


def policy(campaign: Campaign) -> dg.AssetsDefinition:
    return stage_asset(
        campaign,
        "policy",
        description="The weights the campaign starts from: the embedded model, a hub model, or a folder.",
        kinds={"huggingface", "safetensors"},
        metadata=_metadata,
    )


def _metadata(record: Record) -> dict[str, Any]:
    described = json.loads(record.path("policy.json").read_text(encoding="utf-8"))
    return {"model": described["name"], "source": described["source"], "weights": described["content_hash"]}
