"""Which rollouts a round needs: known before any of them is sampled.

Axes: P prompts, G rollouts a prompt.
"""

import polars as pl

from rft_pipeline.campaign import Sampling
from rft_pipeline.fingerprint import fingerprint, seed_of
from rft_pipeline.store.tables import rollout_id


def choose_prompts(prompts: pl.DataFrame, count: int, seed: int, round_: int) -> pl.DataFrame:
    """The prompts of a round: the `count` smallest of a seeded hash of each.

    A prompt added or removed changes the choice by one prompt, never reshuffles it.
    """
    ranks = [seed_of(seed, "round prompts", round_, prompt_id) for prompt_id in prompts["prompt_id"]]
    ranked = prompts.with_columns(pl.Series("rank", ranks, dtype=pl.UInt64))
    return ranked.sort("rank", "prompt_id").head(count).drop("rank")


def sampling_fingerprint(sampling: Sampling, system: str | None, seed: int) -> str:
    """What fixes a completion beside policy, prompt and index."""
    return fingerprint({"sampling": sampling.identity, "system": system, "seed": seed})


def rollout_addresses(prompts: pl.DataFrame, policy: str, sampling: str, group_size: int) -> pl.DataFrame:
    """P·G rows ordered by (prompt, sample_index): rollout_id, prompt_id, sample_index."""
    return pl.DataFrame(
        [
            {
                "rollout_id": rollout_id(policy, prompt_id, sampling, index),
                "prompt_id": prompt_id,
                "sample_index": index,
            }
            for prompt_id in prompts["prompt_id"]
            for index in range(group_size)
        ],
        schema={"rollout_id": pl.String, "prompt_id": pl.String, "sample_index": pl.Int64},
    )
