"""The stage `rollouts`: completions of a round's prompts."""

from statistics import fmean
from typing import Any

import polars as pl

from rft_pipeline.campaign import Campaign
from rft_pipeline.campaign.addresses import choose_prompts
from rft_pipeline.prompts.reading import content_hash
from rft_pipeline.rules.words import words
from rft_pipeline.stages.base import Node, Output, Sources, Stage, Upstream, policy_role
from rft_pipeline.stages.counting import Counting
from rft_pipeline.stages.job import Job
from rft_pipeline.stages.rows_used import read_columns
from rft_pipeline.store import Record


class Rollouts(Stage):
    """Sample `group_size` completions of every prompt of a round."""

    name = "rollouts"
    description = "A group of completions for each prompt of the round, with tokens and log-probs."
    version = 2
    loads_models = True
    appends = True
    counted = "rollouts"

    def upstream(self, campaign: Campaign, round_: int) -> dict[str, str]:
        return {"prompts": "prompts", "policy": policy_role(campaign, round_)}

    def settings(self, campaign: Campaign, node: Node) -> dict[str, Any]:
        return {
            **campaign.rollouts.identity,
            "system": campaign.policy.system,
            "system_in": campaign.policy.system_in,
            "seed": campaign.seed,
            "round": node.round,
        }

    def inputs(self, campaign: Campaign, node: Node, upstream: Upstream, sources: Sources) -> dict[str, str]:
        return {"prompts": upstream["prompts"].parts["train"], "policy": upstream["policy"].content_hash}

    def run(self, job: Job) -> Output:
        how = job.campaign.rollouts
        train = job.frame("prompts").filter(split="train")
        chosen = choose_prompts(train, how.prompts_per_round, job.campaign.seed, job.node.round)
        rows, made = job.sample(chosen, "policy", how.group_size, how.sampling, how.runtime)
        job.write(rows)
        return Output(
            content_hash=content_hash(
                rows.select("rollout_id", job.reply_column, "finish_reason", "messages", "fields")
            ),
            rows={"prompts": chosen.height, "rollouts": rows.height, "made": made},
            metrics={**_length(job, rows), "truncated_share": rows.filter(finish_reason="length").height / rows.height},
        )

    def count(self, counting: Counting) -> None:
        how = counting.campaign.rollouts
        prompts = counting.prompts("train")
        if prompts is not None:
            prompts = choose_prompts(prompts, how.prompts_per_round, counting.campaign.seed, counting.node.round)
        counting.sampled(prompts, how.prompts_per_round, counting.content("policy"), how.group_size, how.sampling)

    def rollouts_in(self, record: Record) -> pl.DataFrame:
        return read_columns(record.path("rollouts.parquet"), ["rollout_id"])


def _length(job: Job, rows: pl.DataFrame) -> dict[str, float]:
    """The mean length in tokens, or in words for a served policy, which returns no tokens."""
    if job.campaign.policy.is_served:
        return {"length_words_mean": fmean(len(words(text)) for text in rows["completion"])}
    return {"length_mean": float(rows.select(pl.col("tokens").list.len().cast(pl.Float64).mean()).item())}
