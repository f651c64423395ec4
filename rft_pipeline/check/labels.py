"""Checks that there are enough labels for a verdict on each judge."""

import polars as pl

from rft_pipeline.campaign import Audit, Campaign
from rft_pipeline.check.result import Findings
from rft_pipeline.progress import counted


def check_labels(campaign: Campaign, anchors: pl.DataFrame, people: pl.DataFrame, settings: Findings) -> None:
    """A warning for each judged criterion that an audit could say nothing about. `people` are the labels of people that
    measure the judges; they count with the anchors."""
    needs = campaign.audit or Audit()
    means = people.group_by("rollout_id", "prompt_id", "criterion").agg(pl.col("value").mean())
    for criterion in campaign.rubric.judged:
        label = pl.col("labels").struct.field(criterion.name).cast(pl.Float64).alias("value")
        labelled = pl.concat(
            [
                anchors.select("prompt_id", label).drop_nulls("value"),
                means.filter(criterion=criterion.name).select("prompt_id", "value"),
            ]
        )
        good = labelled.filter(pl.col("value") >= 0.5).height
        bad, prompts = labelled.height - good, labelled["prompt_id"].n_unique()
        if min(good, bad) < needs.min_per_side or prompts < needs.min_prompts:
            settings.warnings.append(
                f"{campaign.anchors_path}: labels.{criterion.name}: {good} good and {bad} bad replies to "
                f"{counted(prompts, 'prompt')} are labelled; the audit gives no verdict on its judge below "
                f"{needs.min_per_side} of each and {needs.min_prompts} prompts (audit.min_per_side, "
                "audit.min_prompts); until then, and as long as campaign.yaml has no `audit` block, it trains with its "
                "full weight"
            )
