"""The asset of a node: its body is one call of the pipeline, its metadata is read from the record."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import dagster as dg

from rft_pipeline.campaign import Campaign
from rft_pipeline.pipeline.outcomes import outcome
from rft_pipeline.pipeline.tracking import asset_url
from rft_pipeline.runs import dead_runs
from rft_pipeline.stages import STAGES, Node
from rft_pipeline.store import Home, Record

from .resources import StageRunner

ACCELERATOR = "accelerator"
"""The Dagster pool of stages that load a model: one at a time on a machine."""


def always(campaign: Campaign) -> bool:
    return True


def never(campaign: Campaign) -> bool:
    return False


def _nothing(record: Record) -> dict[str, Any]:
    return {}


@dataclass(frozen=True)
class Check:
    """An asset check on a stage's record."""

    name: str
    description: str
    read: Callable[[Record, Campaign], dg.AssetCheckResult]
    blocking: Callable[[Campaign], bool] = never
    """Whether a failure stops the assets downstream."""
    applies: Callable[[Campaign], bool] = always


@dataclass(frozen=True)
class Binding:
    """How Dagster shows a stage: what its record holds as metadata, and which checks read it."""

    stage: str
    kinds: frozenset[str] = frozenset()
    metadata: Callable[[Record], dict[str, Any]] = _nothing
    checks: tuple[Check, ...] = ()


def stage_asset(campaign: Campaign, here: Node, binding: Binding) -> dg.AssetsDefinition:
    """The asset of one node: runs the stage through the pipeline and shows its record."""
    round_ = "_promotion" if here.stage == "promotion" else f"_round_{here.round}" if here.round else "_sources"
    stage, key = STAGES[here.stage], dg.AssetKey(here.key.split("/"))
    checks = [check for check in binding.checks if check.applies(campaign)]

    @dg.asset(
        key=key,
        deps=[dg.AssetKey([campaign.name, *above.split("/")]) for above in here.upstream.values()],
        group_name=f"{campaign.name}{round_}",
        description=stage.description,
        kinds=set(binding.kinds),
        pool=ACCELERATOR if stage.loads_models else None,
        check_specs=[
            dg.AssetCheckSpec(each.name, asset=key, description=each.description, blocking=each.blocking(campaign))
            for each in checks
        ],
        tags={"rft/campaign": campaign.name, "rft/stage": here.stage},
    )
    def _asset(context: dg.AssetExecutionContext, stages: StageRunner) -> dg.MaterializeResult:  # type: ignore[type-arg]  # Dagster refuses the parametrised type
        dead_runs.tag_run(context.instance, context.run, stages.run_tags(campaign.name))
        record = stages.run(campaign.name, here.name, context.run_id)
        if here.stage == "promotion":
            promoted = outcome(Home.find(), record).round_name
            context.instance.add_run_tags(context.run_id, {"rft/promoted": promoted})
        context.log.info("%s: %s", here.key, "cached" if record.cached else f"made in {record.seconds:.1f} s")
        return dg.MaterializeResult(
            data_version=dg.DataVersion(record.content_hash),
            metadata={**binding.metadata(record), **_numbers(record), **_links(record, stages)},
            check_results=[check.read(record, campaign) for check in checks],
        )

    return _asset


def _numbers(record: Record) -> dict[str, Any]:
    """Row counts and metrics, plotted over time by Dagster."""
    metrics = {name: round(value, 4) for name, value in record.metrics.items()}
    return {f"rows/{name}": count for name, count in record.rows.items()} | metrics


def _links(record: Record, stages: StageRunner) -> dict[str, Any]:
    """The folder of the result, what it was made from, and its MLflow run."""
    return {
        "cached": record.cached,
        "seconds": record.seconds,
        "MLflow run": dg.MetadataValue.url(stages.mlflow_page(record)),
        "mlflow_run_id": record.mlflow_run_id,
        "folder": dg.MetadataValue.path(str(record.folder)),
        "fingerprint": record.fingerprint,
        "record": record.address,
        "upstream records": dg.MetadataValue.md(_upstream(record)),
        "made from": dg.MetadataValue.json(record.payload),
    }


def _upstream(record: Record) -> str:
    """The records that were read, each a link to its asset."""
    lines = [
        f"- {role}: [{address}]({asset_url(address.rpartition('/')[0])})" for role, address in record.upstream.items()
    ]
    return "\n".join(lines) or "none"
