"""Completions of a round's prompts, sampled by its policy."""

from typing import Any

import dagster as dg

from rft_pipeline.campaign import Campaign
from rft_pipeline.store import Record

from .checks import replies_finish
from .stage import ACCELERATOR, check_spec, stage_asset
from .tables import frame, markdown


def rollouts(campaign: Campaign, round_: int) -> dg.AssetsDefinition:
    name = f"round_{round_}/rollouts"
    truncation = check_spec(campaign, name, "truncation_share", "Few enough replies are cut off by the token budget.")
    return stage_asset(
        campaign,
        name,
        description="A group of completions for each prompt of the round, with tokens and log-probs.",
        kinds={"pytorch", "huggingface", "deltalake"},
        metadata=_metadata,
        checks=[(truncation, replies_finish)],
        pool=ACCELERATOR,
    )


def _metadata(record: Record) -> dict[str, Any]:
    rows = frame(record)
    sample = rows.filter(sample_index=0).head(8).select("finish_reason", "completion")
    return {"dagster/row_count": rows.height, "sample": markdown(sample)}
