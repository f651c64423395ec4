"""The stage `prompts`: the training and held-out prompts of a campaign."""

from typing import Any

from rft_pipeline.campaign import Campaign
from rft_pipeline.prompts.reading import content_hash, read_prompts
from rft_pipeline.rules.slots import has_slots
from rft_pipeline.stages.base import Node, Output, Sources, Stage, Upstream
from rft_pipeline.stages.columns import parts_of
from rft_pipeline.stages.job import Job


class Prompts(Stage):
    """Read the prompts, merge duplicates, and split them into train and eval."""

    name = "prompts"
    description = "Train and eval prompts from their sources; duplicates are merged, empty prompts are refused."
    version = 3
    scope = "campaign"

    def settings(self, campaign: Campaign, node: Node) -> dict[str, Any]:
        system = campaign.policy.system
        return {**campaign.prompts.identity, **({"system": system} if has_slots(system) else {})}

    def inputs(self, campaign: Campaign, node: Node, upstream: Upstream, sources: Sources) -> dict[str, str]:
        return {split: sources[f"prompts.{split}"] for split in ("train", "eval")}

    def run(self, job: Job) -> Output:
        read = read_prompts(job.campaign)
        job.write(read.rows)
        splits = {split: read.rows.filter(split=split) for split in ("train", "eval")}
        return Output(
            content_hash=content_hash(read.rows),
            parts={name: part for split, rows in splits.items() for name, part in parts_of(rows, split).items()},
            rows={split: rows.height for split, rows in splits.items()} | {"merged": read.merged},
        )
