"""Which rollouts and judgements a round needs: known before any of them is made.

Axes: P prompts, G rollouts a prompt.
Identical completions of one prompt are one subject, judged once per criterion and judge, whatever round or campaign
they come from.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from rft_pipeline.campaign import Sampling
from rft_pipeline.fingerprint import fingerprint, seed_of
from rft_pipeline.rubric import Criterion
from rft_pipeline.rules import Rollout
from rft_pipeline.store.tables import judgement_id, rollout_id

BY_RULE = "rule"
"""The judge of a criterion that no model decides."""


def choose_prompts(prompts: pl.DataFrame, count: int, seed: int, round_: int) -> pl.DataFrame:
    """The prompts of a round: the `count` smallest of a seeded hash of each.

    A prompt added or removed changes the choice by one prompt, never reshuffles it.
    """
    ranks = [seed_of(seed, "round prompts", round_, prompt_id) for prompt_id in prompts["prompt_id"]]
    ranked = prompts.with_columns(pl.Series("rank", ranks, dtype=pl.UInt64))
    return ranked.sort("rank", "prompt_id").head(count).drop("rank")


def sampling_fingerprint(sampling: Sampling, system: str | None, seed: int) -> str:
    """What fixes a completion beside policy, prompt and index."""
    return sampling_of({"sampling": sampling.identity, "system": system, "seed": seed})


def sampling_of(settings: Mapping[str, Any]) -> str:
    """The same, from the settings of a record that holds rollouts."""
    return fingerprint({name: settings[name] for name in ("sampling", "system", "seed")})


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


def with_prompts(rollouts: pl.DataFrame, prompts: pl.DataFrame) -> pl.DataFrame:
    """Rollouts beside their prompts' messages and fields, order kept."""
    return rollouts.join(
        prompts.select("prompt_id", "messages", "fields"), on="prompt_id", how="left", maintain_order="left"
    )


def judgement_addresses(
    rollout_ids: Sequence[str], views: Sequence[Rollout], criterion: Criterion, judge_model: str
) -> pl.DataFrame:
    """One row a rollout: rollout_id, subject, judgement_id, and its place in `views`."""
    judge = judge_of(criterion, judge_model)
    subjects = [subject_of(view, criterion.judged) for view in views]
    return pl.DataFrame(
        {
            "rollout_id": rollout_ids,
            "subject": subjects,
            "judgement_id": [judgement_id(criterion.fingerprint, judge, subject) for subject in subjects],
            "place": range(len(views)),
        },
        schema={"rollout_id": pl.String, "subject": pl.String, "judgement_id": pl.String, "place": pl.Int64},
    )


def judge_of(criterion: Criterion, judge_model: str) -> str:
    """Who decides a criterion: the judge model's content hash, or `rule`."""
    return judge_in(criterion.payload, judge_model)


def judge_in(payload: Mapping[str, Any], judge_model: str) -> str:
    """The same, for what a record says a criterion asks."""
    return BY_RULE if payload["judge"]["protocol"] == "rule" else judge_model


def as_rollout(row: dict[str, Any]) -> Rollout:
    """A judge's view of a row with the columns completion, finish_reason, messages and fields (JSON)."""
    return Rollout(
        prompt=transcript(row["messages"]),
        completion=row["completion"],
        finish_reason=row["finish_reason"],
        fields=json.loads(row["fields"]),
    )


def transcript(messages: str) -> str:
    """A prompt as a judge reads it: its text, or the turns in order when there are several."""
    turns = [turn for turn in json.loads(messages) if turn["role"] != "system"]
    if len(turns) == 1:
        return str(turns[0]["content"])
    return "\n".join(f"{turn['role']}: {turn['content']}" for turn in turns)


def subject_of(rollout: Rollout, judged: bool) -> str:
    """What a criterion's judge is shown: a model sees the texts, a rule also how the reply ended and the fields."""
    texts = [rollout.prompt, rollout.completion]
    return fingerprint(texts if judged else [*texts, rollout.finish_reason, dict(rollout.fields)])
