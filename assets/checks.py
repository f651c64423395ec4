"""The asset checks: each reads a record and says whether its numbers may be used."""

from typing import Any

import dagster as dg
import polars as pl

from assets.tables import frame, markdown
from rft_pipeline.campaign import Campaign
from rft_pipeline.check.overlap import overlaps
from rft_pipeline.store import Record
from rft_pipeline.store.records import STEPS


def prompts_do_not_overlap(record: Record, campaign: Campaign) -> dg.AssetCheckResult:
    """Train and eval share no prompt, word for word or nearly."""
    rows = frame(record)
    found = overlaps(rows.filter(split="train"), rows.filter(split="eval"))
    metadata: dict[str, Any] = {"overlaps": len(found), "duplicates merged": record.rows["merged"]}
    if found:
        metadata["pairs"] = markdown(pl.DataFrame(found, orient="row"))
    return _result("no_overlap", not found, metadata, dg.AssetCheckSeverity.ERROR)


def replies_finish(record: Record, campaign: Campaign) -> dg.AssetCheckResult:
    """The share of truncated replies is at most `checks.max_truncated_share`."""
    share = record.metrics.get("truncated_share", record.metrics.get("eval_truncated_share", 0.0))
    most = campaign.checks.max_truncated_share
    return _result("truncation_share", share <= most, {"share": share, "allowed": most})


def judges_answer(record: Record, campaign: Campaign) -> dg.AssetCheckResult:
    """The share of unscored judgements is at most `checks.max_unscored_share`."""
    share, most = record.metrics["unscored_share"], campaign.checks.max_unscored_share
    return _result("unscored_share", share <= most, {"share": share, "allowed": most})


def groups_can_teach(record: Record, campaign: Campaign) -> dg.AssetCheckResult:
    """At least `reward.min_group_share` of the groups have variance."""
    share, least = record.metrics["groups_used_share"], campaign.reward.min_group_share
    return _result(
        "groups_with_variance", share >= least, {"share": share, "wanted": least}, dg.AssetCheckSeverity.ERROR
    )


def training_is_finite(record: Record, campaign: Campaign) -> dg.AssetCheckResult:
    """Every step's loss and gradient norm is a finite number."""
    steps = pl.read_ndjson(record.path(STEPS)).select(pl.col("loss", "grad_norm").cast(pl.Float64))
    finite = steps.select(pl.all_horizontal(pl.all().is_finite()).all()).item()
    return _result("finite", bool(finite), {"steps": steps.height}, dg.AssetCheckSeverity.ERROR)


def _result(
    name: str, passed: bool, metadata: dict[str, Any], severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.WARN
) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(check_name=name, passed=passed, severity=severity, metadata=metadata)
