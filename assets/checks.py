"""The asset checks: each reads a record's numbers; a check that fails says what to do."""

import json
from typing import Any

import dagster as dg
import polars as pl

from rft_pipeline.audit.stored import audited_in
from rft_pipeline.campaign import Campaign
from rft_pipeline.pipeline.outcomes import outcome
from rft_pipeline.prompts.overlap import overlaps
from rft_pipeline.report.timeline import cause_in_words, title
from rft_pipeline.stages.base import policy_called, start_node
from rft_pipeline.stages.promotion import decision_of
from rft_pipeline.stages.reward_batches import too_few_groups
from rft_pipeline.store import Home, Record

from .tables import frame, markdown, steps

SHOWN = 5
"""Eval prompts that a message names."""


def prompts_do_not_overlap(record: Record, campaign: Campaign) -> dg.AssetCheckResult:
    """No eval prompt is a train prompt, or nearly one."""
    rows = frame(record)
    found = overlaps(rows.filter(split="train"), rows.filter(split="eval"))
    metadata: dict[str, Any] = {"overlaps": len(found), "duplicates merged": record.rows["merged"]}
    if found:
        metadata["pairs"] = markdown(pl.DataFrame(found, orient="row"))
    ids = ", ".join(pair.eval_id for pair in found[:SHOWN])
    advice = f"{len(found)} eval prompts equal a train prompt, or nearly ({ids}); reword or remove them"
    return _result("no_overlap", not found, metadata, advice, dg.AssetCheckSeverity.ERROR)


def replies_finish(record: Record, campaign: Campaign) -> dg.AssetCheckResult:
    """The share of truncated replies is at most `checks.max_truncated_share`."""
    share = record.metrics.get("truncated_share", record.metrics.get("eval_truncated_share", 0.0))
    most = campaign.checks.max_truncated_share
    advice = (
        f"{share:.0%} of the replies are cut off, at most {most:.0%} are allowed; raise max_new_tokens or reward short "
        "replies"
    )
    return _result("truncation_share", share <= most, {"share": share, "allowed": most}, advice)


def judges_answer(record: Record, campaign: Campaign) -> dg.AssetCheckResult:
    """The share of unscored judgements is at most `checks.max_unscored_share`."""
    share, most = record.metrics["unscored_share"], campaign.checks.max_unscored_share
    advice = (
        f"{share:.0%} of the judgements are unscored, at most {most:.0%} are allowed; the table of judgements says why"
    )
    return _result("unscored_share", share <= most, {"share": share, "allowed": most}, advice)


def judges_earn_their_weight(record: Record, campaign: Campaign) -> dg.AssetCheckResult:
    """Every criterion that a model judges keeps some weight."""
    audited = audited_in(record)
    refused = [each for each in audited if each["power"] == "monitor"]
    advice = "; ".join(f"{each['criterion']} does not train: {each['reason']}" for each in refused)
    blocking = campaign.audit is not None and campaign.audit.blocking
    severity = dg.AssetCheckSeverity.ERROR if blocking else dg.AssetCheckSeverity.WARN
    metadata = {each["criterion"]: each["power"] for each in audited}
    return _result("judges_earn_their_weight", not refused, metadata, advice, severity)


def a_round_is_promoted(record: Record, campaign: Campaign) -> dg.AssetCheckResult:
    """A round passed every bound and is the champion; a warning, because a run without a promotion is no error.

    Dagster shows these values at the end of a run's log, so they say whether to deploy, and why.
    """
    found = outcome(Home.find(), record)
    metadata = {"promoted": found.round_name, "compared with": decision_of(record)["champion"], "why": found.summary}
    checked = _result("promoted", found.promoted is not None, metadata, found.summary)
    return checked._replace(description=found.summary)


def rounds_gain_is_real(record: Record, campaign: Campaign) -> dg.AssetCheckResult:
    """No alarm fired in the newest round. An alarm that stops it is an error: the next round starts elsewhere."""
    alarms = json.loads(record.path("report.json").read_text(encoding="utf-8"))["alarms"]
    newest, start = alarms["verdicts"][-1], alarms["start_round"]
    severity = dg.AssetCheckSeverity.ERROR if newest["level"] == "stop" else dg.AssetCheckSeverity.WARN
    metadata = {
        "verdict": newest["level"],
        "alarms": ", ".join(title(cause, [newest]) for cause in newest["causes"]) or "none",
        "reason": newest["reason"],
        "what changed the reward": cause_in_words(newest["moved_by"]),
        "the next round starts from": f"round {start}" if start else policy_called(campaign, start_node(campaign)),
    }
    return _result("alarms", newest["level"] == "ok", metadata, newest["reason"], severity)


def groups_have_variance(record: Record, campaign: Campaign) -> dg.AssetCheckResult:
    """At least `reward.min_group_share` of the groups have variance, if training needs it."""
    advice = too_few_groups(record.rows, campaign)
    metadata = {"share": record.metrics["groups_used_share"], "required": campaign.reward.min_group_share}
    return _result("groups_with_variance", not advice, metadata, advice, dg.AssetCheckSeverity.ERROR)


def training_is_finite(record: Record, campaign: Campaign) -> dg.AssetCheckResult:
    """Every step's loss and gradient norm is a finite number."""
    taken = steps(record)
    broken = taken.filter(~pl.all_horizontal(pl.col("loss", "grad_norm").cast(pl.Float64).is_finite()))[
        "step"
    ].to_list()
    advice = f"loss or gradient norm is not finite in step {', '.join(map(str, broken))}; lower training.learning_rate"
    return _result("finite", not broken, {"steps": taken.height}, advice, dg.AssetCheckSeverity.ERROR)


def _in_words(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _result(
    name: str,
    passed: bool,
    metadata: dict[str, Any],
    advice: str,
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.WARN,
) -> dg.AssetCheckResult:
    """A check that passed is described by its numbers, a failed one by `advice`."""
    numbers = ", ".join(f"{label} {_in_words(value)}" for label, value in metadata.items() if value is not None)
    description = f"Passed: {numbers}." if passed else advice
    return dg.AssetCheckResult(
        check_name=name, passed=passed, severity=severity, metadata=metadata, description=description
    )
