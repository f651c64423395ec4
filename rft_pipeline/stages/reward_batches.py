"""The stage `reward_batches`: rewards and advantages of a round's rollouts."""

from typing import Any

import polars as pl

from rft_pipeline.campaign import Campaign
from rft_pipeline.prompts.reading import content_hash
from rft_pipeline.rewards.batch import make_batch
from rft_pipeline.rewards.group_noise import count_damped
from rft_pipeline.stages.base import MlflowRun, Node, Output, Sources, Stage, Upstream, audit_role, content_read
from rft_pipeline.stages.job import Job
from rft_pipeline.store import Record


class RewardBatches(Stage):
    """Compute one reward and one advantage a rollout from judgements and people's labels."""

    name = "reward_batches"
    description = "Gates, rewards and advantages of the round's rollouts; which are left out, and why."
    version = 4

    def upstream(self, campaign: Campaign, round_: int) -> dict[str, str]:
        return {
            "rubric": "rubric",
            "rollouts": f"round_{round_}/rollouts",
            "judge_scores": f"round_{round_}/judge_scores",
            "labels": "labels",
            **audit_role(campaign),
        }

    def settings(self, campaign: Campaign, node: Node) -> dict[str, Any]:
        return {
            **campaign.reward.identity,
            "weights": campaign.rubric.weights(),
            "gates": campaign.rubric.gates(),
            "by_group": _by_group(campaign),
        }

    def inputs(self, campaign: Campaign, node: Node, upstream: Upstream, sources: Sources) -> dict[str, str]:
        noise = {"noise": upstream["judge_audit"].parts["noise"]} if _by_group(campaign) else {}
        return {**content_read(upstream), **noise}

    def run(self, job: Job) -> Output:
        rubric = job.campaign.rubric
        batch = make_batch(
            job.frame("rollouts"),
            job.frame("judge_scores"),
            job.weights(),
            rubric.gates(),
            job.campaign.reward,
            job.labels(),
            job.noise(),
        )
        job.write(batch.rows)
        excluded = batch.rows.filter(pl.col("excluded").is_not_null()).height
        reward = batch.rows["reward"].mean()
        choices = batch.rows.select("rollout_id", "reward", "finish_reason", "fields", "labelled")
        labelled = batch.rows.filter(pl.col("labelled").list.len() > 0)
        people = content_hash(labelled.select("rollout_id", "scores", "gated", "labelled"))
        damped = count_damped(batch.rows)
        return Output(
            content_hash=content_hash(batch.rows.select("rollout_id", job.reply_column, "advantage", "excluded")),
            parts={"choices": content_hash(choices), **({"people": people} if labelled.height else {})},
            rows={
                "rollouts": batch.rows.height,
                "excluded": excluded,
                "gated": batch.rows.filter("gated").height,
                "labelled": labelled.height,
                "groups": batch.groups,
                "groups_used": batch.groups_used,
            }
            | damped.rows,
            metrics={"groups_used_share": batch.groups_used / batch.groups}
            | ({"reward_mean": float(reward)} if isinstance(reward, float) else {})
            | damped.metrics,
        )

    def track(self, record: Record, run: MlflowRun) -> None:
        run.dataset(record, "reward_batches.parquet")


def too_few_groups(batch: Record, campaign: Campaign) -> str:
    """Why a batch holds too few groups with variance for training; empty if it does not."""
    share, least = batch.metrics["groups_used_share"], campaign.reward.min_group_share
    if share >= least or not campaign.training.how.needs_differences:
        return ""
    lost = batch.rows.get("groups_within_noise", 0)
    noisy = f" ({lost} are within the judge's noise, audit.by_group)" if lost else ""
    return (
        f"{batch.rows['groups_used']} of {batch.rows['groups']} groups have variance to learn from{noisy}, a share of "
        f"{share:.2f}; reward.min_group_share requires {least}. Sample more replies, or make the rubric separate them"
    )


def _by_group(campaign: Campaign) -> bool:
    """Whether advantages are damped by the judges' noise within each group."""
    return campaign.audit is not None and campaign.audit.by_group
