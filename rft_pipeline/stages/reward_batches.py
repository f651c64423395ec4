"""The stage `reward_batches`: rewards and advantages of a round's rollouts."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

from rft_pipeline.campaign import Campaign
from rft_pipeline.labels.decided import TRAIN_PAIRS, decided_pairs
from rft_pipeline.prompts.reading import content_hash
from rft_pipeline.rewards.batch import make_batch
from rft_pipeline.rewards.group_noise import count_damped
from rft_pipeline.rules.base import REFERENCE
from rft_pipeline.stages.base import (
    MlflowRun,
    Node,
    Output,
    Sources,
    Stage,
    Upstream,
    audit_role,
    content_read,
    how_rewarded,
    noise_read,
)
from rft_pipeline.stages.columns import narrowed
from rft_pipeline.stages.job import Job
from rft_pipeline.store import Record
from rft_pipeline.trainers.examples import PREFERRED

if TYPE_CHECKING:
    from rft_pipeline.stages.round_made import RoundMade


class RewardBatches(Stage):
    """Compute one reward and one advantage a rollout from judgements and people's labels."""

    name = "reward_batches"
    description = "Gates, rewards and advantages of the round's rollouts; which are left out, and why."
    version = 4
    in_generations = True

    def upstream(self, campaign: Campaign, round_: int) -> dict[str, str]:
        return {
            "rubric": "rubric",
            "rollouts": f"round_{round_}/rollouts",
            "judge_scores": f"round_{round_}/judge_scores",
            "labels": "labels",
            **audit_role(campaign),
        }

    def settings(self, campaign: Campaign, node: Node) -> dict[str, Any]:
        return {**campaign.reward.identity, **how_rewarded(campaign)}

    def inputs(self, campaign: Campaign, node: Node, upstream: Upstream, sources: Sources) -> dict[str, str]:
        pairs = {TRAIN_PAIRS: sources[TRAIN_PAIRS]} if TRAIN_PAIRS in sources else {}
        return {**content_read(upstream), **noise_read(campaign, upstream), **pairs}

    def run(self, job: Job) -> Output:
        return batch_output(job, make_reward_batch(job, job.frame("rollouts"), job.frame("judge_scores")))

    def of_generations(self, job: Job, made: "RoundMade") -> Output:
        made.draw(job.workdir, "reward", "groups_used_share")
        return batch_output(job, made.batch, made.refilled)

    def track(self, record: Record, run: MlflowRun) -> None:
        run.dataset(record, "reward_batches.parquet")


def make_reward_batch(job: Job, rollouts: pl.DataFrame, scores: pl.DataFrame) -> pl.DataFrame:
    """Rewards and advantages of rollouts that are trained on together; with people's decided pairs of them, if the
    training reads these."""
    rubric = job.campaign.rubric
    rows = make_batch(
        rollouts, scores, job.weights(), rubric.gates(), job.campaign.reward, job.labels(), job.noise()
    ).rows
    if TRAIN_PAIRS not in job.sources:
        return rows
    return with_preferred(rows, decided_pairs(job.campaign.name, job.home.store, held_out=False))


def with_preferred(rows: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """Rows of a batch with `preferred`: true and false for the two replies of a decided pair that is among them, else
    null. `pairs` has the columns of `DECIDED_PAIRS`, at most one pair a prompt counts."""
    ids = rows["rollout_id"].implode()
    here = pairs.filter(pl.col("better").is_in(ids), pl.col("worse").is_in(ids)).unique(
        "prompt_id", keep="first", maintain_order=True
    )
    is_in = {side: pl.col("rollout_id").is_in(here[side].implode()) for side in ("better", "worse")}
    return rows.with_columns(pl.when(is_in["better"]).then(True).when(is_in["worse"]).then(False).alias(PREFERRED))


def batch_output(job: Job, rows: pl.DataFrame, refilled: Mapping[str, int] | None = None) -> Output:
    """Write the reward batch of a round; `refilled` counts the further prompts, where there may be any."""
    job.write(rows)
    reward = rows["reward"].mean()
    labelled = rows.filter(pl.col("labelled").list.len() > 0)
    people = content_hash(labelled.select("rollout_id", "scores", "gated", "labelled"))
    damped = count_damped(rows)
    fields = pl.Series("fields", narrowed(rows["fields"], [REFERENCE]), pl.String)
    preferred = [name for name in (PREFERRED,) if name in rows.columns]
    choices = rows.select("rollout_id", "reward", "finish_reason", fields, "labelled", *preferred)
    return Output(
        content_hash=content_hash(rows.select("rollout_id", job.reply_column, "advantage", "excluded")),
        parts={"choices": content_hash(choices), **({"people": people} if labelled.height else {})},
        rows={
            "rollouts": rows.height,
            "excluded": rows.filter(pl.col("excluded").is_not_null()).height,
            "gated": rows.filter("gated").height,
            "labelled": labelled.height,
            **({"pairs_of_people": int(rows[PREFERRED].sum())} if preferred else {}),
            **groups_in(rows),
            **(refilled or {}),
        }
        | damped.rows,
        metrics={"groups_used_share": used_share(rows)}
        | ({"reward_mean": float(reward)} if isinstance(reward, float) else {})
        | damped.metrics,
    )


def groups_in(rows: pl.DataFrame) -> dict[str, int]:
    """The groups of a batch, and those with variance."""
    group = [name for name in ("generation", "prompt_id") if name in rows.columns]
    used = rows.filter(pl.col("excluded").is_null())
    return {"groups": rows.select(group).n_unique(), "groups_used": used.select(group).n_unique()}


def used_share(rows: pl.DataFrame) -> float:
    """The share of groups with variance."""
    counted = groups_in(rows)
    return counted["groups_used"] / counted["groups"]


def too_few_groups(rows: Mapping[str, int], campaign: Campaign) -> str:
    """Why a batch with these counts holds too few groups with variance for training; empty if it does not.

    Groups that were sampled in place of others do not count as further ones.
    """
    groups = rows["groups"] - rows.get("refilled", 0)
    share, least = rows["groups_used"] / groups, campaign.reward.min_group_share
    if share >= least or not campaign.training.how.needs_differences:
        return ""
    lost = rows.get("groups_within_noise", 0)
    noisy = f" ({lost} are within the judge's noise, audit.by_group)" if lost else ""
    return (
        f"{rows['groups_used']} of {groups} groups have variance to learn from{noisy}, a share of "
        f"{share:.2f}; reward.min_group_share requires {least}. Sample more replies, or make the rubric separate them"
    )
