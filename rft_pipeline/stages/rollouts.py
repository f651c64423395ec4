"""The stage `rollouts`: completions of a round's prompts."""

from collections.abc import Mapping
from statistics import fmean
from typing import TYPE_CHECKING, Any

import polars as pl

from rft_pipeline.campaign import Campaign
from rft_pipeline.campaign.addresses import choose_prompts, in_seeded_order, judge_inputs
from rft_pipeline.campaign.continuation import Continuation
from rft_pipeline.prompts.reading import content_hash
from rft_pipeline.rules.words import words
from rft_pipeline.stages.base import (
    Node,
    Output,
    Sources,
    Stage,
    Upstream,
    audit_role,
    content_read,
    how_rewarded,
    how_trained,
    noise_read,
    policy_role,
    what_judges_see,
)
from rft_pipeline.stages.columns import columns_of, narrowed, trained_on
from rft_pipeline.stages.counting import FURTHER, Counting
from rft_pipeline.stages.job import Job
from rft_pipeline.stages.replaying import REPLAY, TRACES, count_replayed, replay_rollouts
from rft_pipeline.stages.round_made import REFILLED, token_lengths
from rft_pipeline.stages.rows_used import read_columns
from rft_pipeline.store import Record, RecordStore
from rft_pipeline.store.rows import ENVIRONMENT

if TYPE_CHECKING:
    from rft_pipeline.stages.round_made import RoundMade


class Rollouts(Stage):
    """Sample `group_size` completions of every prompt of a round."""

    name = "rollouts"
    description = "A group of completions for each prompt of the round, with tokens and log-probs."
    version = 4
    loads = frozenset({"rollouts"})
    appends = True
    in_generations = True
    counted = "rollouts"

    def upstream(self, campaign: Campaign, round_: int) -> dict[str, str]:
        roles = {"prompts": "prompts", "policy": policy_role(campaign, round_)}
        return roles if campaign.generations is None else {**roles, **_steering_roles(campaign)}

    def settings(self, campaign: Campaign, node: Node) -> dict[str, Any]:
        settings = {
            **campaign.rollouts.identity,
            "system": campaign.policy.system,
            "system_in": campaign.policy.system_in,
            "thinking": campaign.policy.thinking,
            "seed": campaign.seed,
            "round": node.round,
        }
        return settings if campaign.generations is None else {**settings, **_steering(campaign)}

    def inputs(self, campaign: Campaign, node: Node, upstream: Upstream, sources: Sources) -> dict[str, str]:
        columns = columns_of(upstream["prompts"], "train", trained_on(campaign))
        prompts = {"prompts": upstream["prompts"].parts["train"], **columns}
        inputs = {**prompts, "policy": upstream["policy"].content_hash}
        inputs |= {} if campaign.rollouts.replay is None else {REPLAY: sources[REPLAY]}
        return inputs if campaign.generations is None else {**_steering_inputs(campaign, upstream, sources), **inputs}

    def run(self, job: Job) -> Output:
        how = job.campaign.rollouts
        if how.replay is not None:
            return rollouts_output(job, *replay_rollouts(job))
        chosen = round_prompts(job)
        rows, made = job.sample(chosen, "policy", how.group_size, how.sampling, how.runtime)
        return rollouts_output(job, rows, made)

    def of_generations(self, job: Job, made: "RoundMade") -> Output:
        made.draw(job.workdir, "length_mean", "thought_length_mean", "truncated_share", REFILLED)
        return rollouts_output(job, made.rollouts, made.sampled, made.refilled)

    def count(self, counting: Counting) -> None:
        how, round_ = counting.campaign.rollouts, counting.generations()
        if how.replay is None:
            counting.work.made_up_of.append(f"{how.prompts_per_round} prompts × {how.group_size} replies")
        if round_ is not None:
            made = round_.rollouts_judged + round_.rollouts_waiting
            counting.work.add("rollouts", round_.rollouts - made, made)
            counting.work.may_add("rollouts", counting.refilled(), FURTHER)
            return
        prompts = counting.prompts("train")
        if how.replay is not None:
            counting.work.add("replayed rollouts", count_replayed(counting.campaign, prompts) or 0)
            return
        if prompts is not None:
            prompts = drawn_prompts(counting.campaign, prompts, counting.node.round)
        counting.sampled(prompts, how.prompts_per_round, counting.content("policy"), how.group_size, how.sampling)

    def rollouts_in(self, record: Record) -> pl.DataFrame:
        return read_columns(record.path("rollouts.parquet"), ["rollout_id"])


def round_prompts(job: Job) -> pl.DataFrame:
    """The prompts of the job's round, in the order of the prompts."""
    return drawn_prompts(job.campaign, job.frame("prompts").filter(split="train"), job.node.round)


def drawn_prompts(campaign: Campaign, train: pl.DataFrame, round_: int) -> pl.DataFrame:
    """The same, from the train prompts."""
    # an edit cycle draws other prompts than the rounds before it
    drawn = round_ if campaign.continuation is None else campaign.continuation.start.content_hash
    return choose_prompts(train, campaign.rollouts.prompts_per_round, campaign.seed, drawn)


def in_order_of_generations(campaign: Campaign, drawn: pl.DataFrame, round_: int) -> pl.DataFrame:
    """The prompts of a round in the order in which its generations take them."""
    return in_seeded_order(drawn, campaign.seed, "generations", round_)


def spare_prompts(job: Job) -> pl.DataFrame:
    """The train prompts that the job's round does not draw, in a seeded order."""
    train, mine = job.frame("prompts").filter(split="train"), round_prompts(job)
    others = train.join(mine, on="prompt_id", how="anti", maintain_order="left")
    return in_seeded_order(others, job.campaign.seed, "spare prompts", job.node.round)


def taken_rollouts(continuation: Continuation | None, records: RecordStore) -> pl.DataFrame | None:
    """The stored rollouts that an edit cycle may train on first: those of the newest generations of the record that it
    takes. None if it takes none, or if their record is gone."""
    taken = None if continuation is None else continuation.taken
    record = None if taken is None else records.at(taken.address)
    if continuation is None or record is None:
        return None
    rows = pl.read_parquet(record.path("rollouts.parquet"), glob=False)
    newest = rows["generation"].unique().sort(descending=True)[: continuation.generations]
    return rows.filter(pl.col("generation").is_in(newest.implode()))


def rollouts_output(
    job: Job, rows: pl.DataFrame, made: int | Mapping[str, int], refilled: Mapping[str, int] | None = None
) -> Output:
    """Write the rollouts of a round; `made` says how many were sampled, or holds the counts of replayed ones;
    `refilled` counts the further prompts, where there may be any."""
    job.write(rows)
    named = [name for name in ("generation", "policy") if name in rows.columns]
    fields = pl.Series("fields", narrowed(rows["fields"], trained_on(job.campaign)), pl.String)
    counts = {"made": made} if isinstance(made, int) else made
    read = rows.select("rollout_id", job.reply_column, "finish_reason", "messages", fields, *named)
    return Output(
        content_hash=content_hash(read),
        parts=_policies(rows),
        rows={"prompts": rows["prompt_id"].n_unique(), "rollouts": rows.height, **counts, **(refilled or {})},
        metrics={**_length(job, rows), "truncated_share": rows.filter(finish_reason="length").height / rows.height},
    )


def _policies(rows: pl.DataFrame) -> dict[str, str]:
    """The policy of each generation; nothing where the round was sampled at once. Replayed rollouts have none."""
    if "generation" not in rows.columns:
        return {"policy": TRACES} if ENVIRONMENT in rows.columns else {}
    each = rows.select("generation", "policy").unique(maintain_order=True)
    return {f"policy.{generation}": policy for generation, policy in each.iter_rows()}


def _steering_roles(campaign: Campaign) -> dict[str, str]:
    """What trains the policy between the generations."""
    return {"rubric": "rubric", "labels": "labels", **audit_role(campaign), "base": "policy"}


def _steering(campaign: Campaign) -> dict[str, Any]:
    """The settings of what trains the policy between the generations."""
    return {
        "criteria": what_judges_see(campaign.rubric.criteria),
        **how_rewarded(campaign),
        "reward": campaign.reward.identity,
        "training": how_trained(campaign),
        "continuation": None if campaign.continuation is None else campaign.continuation.identity,
    }


def _steering_inputs(campaign: Campaign, upstream: Upstream, sources: Sources) -> dict[str, str]:
    judges = judge_inputs(campaign.rubric.criteria, sources)
    inputs = {**content_read(upstream), **judges, **noise_read(campaign, upstream)}
    if not campaign.training.how.uses_base(campaign.training):
        inputs.pop("base", None)
    return inputs


def _length(job: Job, rows: pl.DataFrame) -> dict[str, float]:
    """The mean length of answers and thoughts in tokens, or in words for a served policy, which returns no tokens."""
    if not job.campaign.policy.is_served:
        return token_lengths(rows)
    counted = {"length_words_mean": rows["completion"], "thought_length_words_mean": rows["thought"]}
    means = {name: fmean(len(words(text)) for text in texts) for name, texts in counted.items()}
    return {name: mean for name, mean in means.items() if mean or name == "length_words_mean"}
