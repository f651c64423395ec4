"""What a round's generations are made of: stored rollouts, then prompts to sample."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from rft_pipeline.errors import StoreError
from rft_pipeline.files import replace_text
from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.prompts.reading import content_hash
from rft_pipeline.stages.counting import SAMPLING
from rft_pipeline.stages.job import Job
from rft_pipeline.stages.rollouts import in_order_of_generations, round_prompts, taken_rollouts
from rft_pipeline.store import RecordStore
from rft_pipeline.trainers.rows import LOGPROBS

OLD_LOGPROBS = pl.Schema({"rollout_id": pl.String(), "old_logprobs": pl.List(pl.Float64())})


def stored_generations(job: Job) -> list[pl.DataFrame]:
    """The stored generations that an edit cycle takes first, with the trainer's log-probs, newest first: the newest
    were sampled by a policy that is nearest to where the cycle starts."""
    continuation = job.campaign.continuation
    if continuation is None or continuation.taken is None:
        return []
    records = RecordStore(job.home.store)
    rows, start = taken_rollouts(continuation, records), records.at(continuation.start.address)
    if rows is None or start is None:
        gone = continuation.taken.address if rows is None else continuation.start.address
        raise StoreError(
            f"{job.node.key}: continues from {gone}, whose record is missing or incomplete; edit the rubric again, or "
            "set on_rubric_change: redo"
        )
    logprobs = pl.read_parquet(start.path(LOGPROBS), glob=False)
    rows = rows.join(logprobs, on="rollout_id", how="inner", maintain_order="left")
    return [rows.filter(generation=number) for number in rows["generation"].unique().sort(descending=True)]


def prompts_of_generations(job: Job) -> Iterator[pl.DataFrame]:
    """The prompts of each generation, in a seeded order; the last one may be smaller."""
    shared = job.campaign.generations
    assert shared is not None
    ordered = in_order_of_generations(job.campaign, round_prompts(job), job.node.round)
    yield from ordered.iter_slices(shared.prompts)


def note_sampling(kept: Path, generation: int, policy: str, prompts: pl.DataFrame) -> None:
    """Write down what a generation samples, so that its rows can be counted if the run is killed meanwhile."""
    described = {"generation": generation, "policy": policy, "prompts": prompts["prompt_id"].to_list()}
    replace_text(kept / SAMPLING.format(generation), json.dumps(described))


def policy_after(policy: str, batch: pl.DataFrame, training: Mapping[str, Any]) -> str:
    """The identity of a policy that was trained on a generation's batch."""
    trained_on = content_hash(batch.select("rollout_id", "tokens", "advantage", "excluded", "reward", "finish_reason"))
    return fingerprint(["generation", policy, trained_on, training])


def joined(parts: list[pl.DataFrame]) -> pl.DataFrame:
    """The tables of generations, without the trainer's log-probs that stored generations have."""
    plain = [part.drop("old_logprobs", strict=False) for part in parts]
    return pl.concat([part.select(plain[-1].columns) for part in plain])


def replace_table(path: Path, frame: pl.DataFrame) -> None:
    """Write a table, all or nothing."""
    temporary = path.with_suffix(".tmp")
    frame.write_parquet(temporary)
    temporary.replace(path)
