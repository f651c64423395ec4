"""Rollouts: sample `group_size` completions of every prompt of a round.

Axes: P prompts, G rollouts a prompt, T tokens.
A rollout's id is known before it is sampled, so a run that was killed samples only what is missing.
"""

import json
from collections.abc import Callable
from typing import Any

import polars as pl

from rft_pipeline.campaign import Sampling, SystemIn, Thinking
from rft_pipeline.campaign.addresses import rollout_addresses, sampling_fingerprint
from rft_pipeline.engines import Completion, GenerateRequest, Generator
from rft_pipeline.engines.base import Messages
from rft_pipeline.engines.system_turn import in_user_turn
from rft_pipeline.fingerprint import seed_of
from rft_pipeline.progress import Progress
from rft_pipeline.store.tables import Table


def sample_rollouts(
    prompts: pl.DataFrame,
    policy: str,
    group_size: int,
    sampling: Sampling,
    system: str | None,
    seed: int,
    table: Table,
    engine: Callable[[], Generator],
    progress: Progress,
    system_in: SystemIn = "own_turn",
    thinking: Thinking = "auto",
) -> tuple[pl.DataFrame, int]:
    """Sample the rollouts that `table` lacks; returns all P·G by (prompt, sample_index), and how many were made.

    `engine` is called only when rollouts are missing. Raises `EngineError`; rows sampled until then stay in the table.
    """
    sampling_fp = sampling_fingerprint(sampling, system, seed, system_in, thinking)
    wanted = rollout_addresses(prompts, policy, sampling_fp, group_size)
    missing = table.missing(wanted, pl.col("policy") == policy)
    if missing.height:
        address = {row["rollout_id"]: row for row in missing.iter_rows(named=True)}
        messages = dict(zip(prompts["prompt_id"], prompts["messages"], strict=True))
        requests = [
            GenerateRequest(
                request_id=row["rollout_id"],
                messages=conversation(messages[row["prompt_id"]], system, system_in),
                seed=seed_of(seed, "rollout", row["prompt_id"], row["sample_index"]),
                thinking=thinking,
            )
            for row in address.values()
        ]
        generator = engine()
        with progress.counting("rollouts", len(requests)):
            for completions in generator.generate(requests, sampling):
                fixed = {"policy": policy, "sampling": sampling_fp}
                table.append(pl.DataFrame([_row(done, address[done.request_id], fixed) for done in completions]))
                progress.advance(len(completions))
    return table.read(wanted, pl.col("policy") == policy), missing.height


def conversation(messages: str, system: str | None, system_in: SystemIn = "own_turn") -> Messages:
    """A prompt's stored messages (JSON) as the policy sees them, the campaign's system message first.

    Where the system message has slots, it is among the messages already.
    """
    turns = [(turn["role"], turn["content"]) for turn in json.loads(messages)]
    if system is not None and (not turns or turns[0][0] != "system"):
        turns.insert(0, ("system", system))
    return in_user_turn(tuple(turns)) if system_in == "user_turn" else tuple(turns)


def _row(done: Completion, address: dict[str, Any], fixed: dict[str, str]) -> dict[str, Any]:
    return {
        **fixed,
        "rollout_id": done.request_id,
        "prompt_id": address["prompt_id"],
        "sample_index": address["sample_index"],
        "prompt_tokens": done.prompt_tokens,
        "tokens": done.tokens_T,
        "logprobs": done.logprobs_T,
        "completion": done.text,
        "thought": done.thought,
        "thought_tokens": done.thought_tokens,
        "finish_reason": done.finish_reason,
    }
