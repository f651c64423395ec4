"""Checks that there are enough labels for a verdict on each judge, and that rules decide as the labels do."""

import polars as pl

from rft_pipeline.campaign import Audit, Campaign
from rft_pipeline.campaign.addresses import as_rollout
from rft_pipeline.check.result import Disagreement, Findings
from rft_pipeline.judges import RuleJudge
from rft_pipeline.progress import counted
from rft_pipeline.rules.python import Python
from rft_pipeline.rules.unit_tests import UnitTests

PASSES = 0.5
"""The score from which a reply passes a rule without a gate."""


RUN_CODE = (UnitTests, Python)
"""Rules that run code of the rubric or of a reply, which a check does not wait for."""


def rules_against_labels(campaign: Campaign, anchors: pl.DataFrame) -> dict[str, Disagreement]:
    """By criterion that a rule decides: the anchors that pass by the rule (score at least the gate, or 0.5) and not by
    their label, or the other way round; no criterion without any. The audit does not measure rules."""
    found = {}
    for criterion in campaign.rubric.criteria:
        if not isinstance(criterion.judge, RuleJudge) or isinstance(criterion.judge.rule, RUN_CODE):
            continue
        label = pl.col("labels").struct.field(criterion.name).alias("label")
        rows = anchors.with_columns(label).drop_nulls("label").to_dicts()
        otherwise = {
            rows[place]["id"]: (rows[place]["label"], score)
            for place, (score, _) in sorted(criterion.judge.rule.decide_all([as_rollout(row) for row in rows]))
            if score is not None and (score >= (criterion.gate or PASSES)) != bool(rows[place]["label"])
        }
        if otherwise:
            found[criterion.name] = Disagreement(len(rows), otherwise)
    return found


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
