"""The asset of a node: its body is one call of the pipeline, its metadata is read from the record."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from rft_pipeline.campaign import Campaign
from rft_pipeline.pipeline.links import REPORTS, file_in_dagster, run_in_dagster
from rft_pipeline.pipeline.outcomes import outcome
from rft_pipeline.report.published import INDEX
from rft_pipeline.runs import dead_runs
from rft_pipeline.runs.state import LAUNCH
from rft_pipeline.stages import STAGES, Node
from rft_pipeline.store import Home, Record

from .gpus import gpu_tags
from .resources import StageRunner

REASON = "rft/reason"
"""The tag of runs that a sensor or a schedule requested: why."""
ACCELERATOR = "accelerator"
"""The Dagster pool of stages that load a model: one at a time on a machine."""

_WORDS = {
    "auc": "AUC",
    "delta": "change",
    "kappa": "κ",
    "frontier": "gain by KL",
    "kl": "KL",
    "lower95": "lower bound (95 %)",
    "upper95": "upper bound (95 %)",
}
"""Words of a record's numbers that a person would put differently."""

_COUNTED = {
    "eval": "eval prompts",
    "excluded": "excluded rollouts",
    "failed": "failed judgements",
    "gated": "gated rollouts",
    "labelled": "labelled rollouts",
    "merged": "merged duplicates",
    "passed": "rounds that passed",
    "refused": "refused judges",
    "train": "train prompts",
    "unscored": "unscored judgements",
}
"""What a record's counts with names of one word count."""

LEARNING = "learning_"
"""How the names of plots over a round's generations begin."""

LONGEST, REST = 1000, "\n\n… and more, below"
"""Letters from which on Dagster folds a text, and what ends a summary that is cut."""


def always(campaign: Campaign) -> bool:
    return True


def never(campaign: Campaign) -> bool:
    return False


def _no_more(record: Record) -> dict[str, Any]:
    return {}


def short(summary: str) -> str:
    """The lines of a summary that Dagster shows without folding them; at least its beginning."""
    if len(summary) < LONGEST:
        return summary
    start = summary[: LONGEST - len(REST) - 1]
    return (start.rpartition("\n")[0] or start.rpartition(" ")[0] or start).rstrip() + REST


def in_words(name: str) -> str:
    """The name of a record's number as a person reads it; `made` counts the rows that the store's tables lacked."""
    if name in _COUNTED:
        return _COUNTED[name]
    first, _, rest = name.partition("_")
    if first == "made":
        return f"new rows of {in_words(rest)}" if rest else "new rows"
    return " ".join(_WORDS.get(word, word) for word in name.split("_"))


def _counts(record: Record) -> str:
    return "**" + ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in record.rows.items()) + "**"


@dataclass(frozen=True)
class AssetCheck:
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
    kind: str = ""
    """What Dagster shows as the asset's kind."""
    summary: Callable[[Record], str] = _counts
    """The first thing a reader sees, as Markdown: how many, how good, what next. Texts from prompts or replies have no
    place in it."""
    metadata: Callable[[Record], dict[str, Any]] = _no_more
    checks: tuple[AssetCheck, ...] = ()


def stage_asset(campaign: Campaign, together: Sequence[Node], bindings: Mapping[str, Binding]) -> dg.AssetsDefinition:
    """The asset of one node, or the assets of the nodes of a round that are made together, by one step.

    A step runs its stages through the pipeline and shows their records. Where it makes several, a round that must not
    be trained on fails inside the step, so none of their checks blocks.
    """
    several = len(together) > 1
    shown = [
        (here, bindings.get(here.stage, Binding(here.stage)), dg.AssetKey(here.key.split("/"))) for here in together
    ]
    checks = {key: [check for check in binding.checks if check.applies(campaign)] for _, binding, key in shown}

    @dg.multi_asset(
        name=f"{campaign.name}__round_{together[0].round}" if several else together[0].key.replace("/", "__"),
        specs=[_spec(campaign, here, binding, key) for here, binding, key in shown],
        check_specs=[
            dg.AssetCheckSpec(
                each.name,
                asset=key,
                description=each.description,
                blocking=not several and each.blocking(campaign),
            )
            for key, found in checks.items()
            for each in found
        ],
        pool=ACCELERATOR if any(STAGES[here.stage].loads for here in together) else None,
        op_tags=gpu_tags(campaign, together),
        can_subset=several,
    )
    def _assets(context: dg.AssetExecutionContext, stages: StageRunner) -> Iterator[Any]:
        dead_runs.tag_run(context.instance, context.run, stages.run_tags(campaign.name))
        decided = not {LAUNCH, REASON}.isdisjoint(context.run.tags)
        records = stages.run(campaign.name, together[0], context.run_id, decided=decided)
        for here, binding, key in shown:
            if key not in context.selected_asset_keys:
                continue
            record = records[here.name]
            if STAGES[here.stage].decides:
                promoted = outcome(Home.find(), record).round_name
                context.instance.add_run_tags(context.run_id, {"rft/promoted": promoted})
            context.log.info("%s: %s", here.key, "cached" if record.cached else f"made in {record.seconds:.1f} s")
            yield dg.MaterializeResult(
                asset_key=key,
                data_version=dg.DataVersion(record.content_hash),
                metadata={
                    "summary": dg.MetadataValue.md(short(binding.summary(record))),
                    **_links(record),
                    **binding.metadata(record),
                    **_pictures(record),
                    **_numbers(record),
                    "provenance": dg.MetadataValue.json(_provenance(record)),
                },
                check_results=[_of_asset(key, check.read(record, campaign)) for check in checks[key]],
            )

    return _assets


def _spec(campaign: Campaign, here: Node, binding: Binding, key: dg.AssetKey) -> dg.AssetSpec:
    return dg.AssetSpec(
        key=key,
        deps=[dg.AssetKey([campaign.name, *above.split("/")]) for above in dict.fromkeys(here.upstream.values())],
        group_name=f"{campaign.name}_{_group(campaign, here)}",
        description=STAGES[here.stage].description,
        kinds={binding.kind} if binding.kind else set(),
        owners=list(campaign.owners),
        tags={"rft/campaign": campaign.name, "rft/stage": here.stage},
    )


def _group(campaign: Campaign, here: Node) -> str:
    """The group of a node; a number in front keeps the groups in the order of the pipeline."""
    last = campaign.rounds + 2
    if STAGES[here.stage].scope == "end":
        return f"{last}_{here.stage}"
    place = str(here.round + 1).zfill(len(str(last)))
    return f"{place}_round_{here.round}" if here.round else f"{place}_sources"


def _of_asset(key: dg.AssetKey, result: dg.AssetCheckResult) -> dg.AssetCheckResult:
    return result._replace(asset_key=key)


def _pictures(record: Record) -> dict[str, Any]:
    """The record's plots, by address: Dagster folds a text that is as long as a picture."""
    return {
        f"plot of {_shown(path.stem)}": dg.MetadataValue.md(
            f"![{path.stem}]({file_in_dagster(record.address, path.name)})"
        )
        for path in sorted(record.folder.glob("*.png"))
    }


def _shown(plot: str) -> str:
    """What a plot shows: `clip ratio by generation`."""
    name = plot.removeprefix(LEARNING)
    return in_words(name) if name == plot else f"{in_words(name)} by generation"


def _numbers(record: Record) -> dict[str, Any]:
    """Row counts and metrics, plotted over time by Dagster."""
    metrics = {in_words(name): round(value, 4) for name, value in record.metrics.items()}
    return {f"number of {in_words(name)}": count for name, count in record.rows.items()} | metrics


def _links(record: Record) -> dict[str, Any]:
    """The record's pages and its MLflow run, as links that open, whether it was cached, and how long it took.

    The links are texts in one row: Dagster does not wrap an address, and a long one widens the table beyond the page.
    """
    pages = [file for file in STAGES[record.payload["stage"]].pages if file.endswith(".html")]
    links = {Path(file).stem.replace("_", " "): file_in_dagster(record.address, file) for file in pages}
    if pages:
        links["all campaigns"] = f"{REPORTS}/{INDEX}"
    links["MLflow run"] = run_in_dagster(record.mlflow_run_id or "")
    shown = " · ".join(f"[{name}]({address})" for name, address in links.items())
    return {"open": dg.MetadataValue.md(shown), "cached": record.cached, "seconds": record.seconds}


def _provenance(record: Record) -> dict[str, Any]:
    """What the result was made from, and where it is."""
    return {
        "record": record.address,
        "folder": str(record.folder),
        "upstream": dict(record.upstream),
        "made from": record.payload,
        "MLflow run": record.mlflow_run_id,
        "Dagster run": record.dagster_run_id,
    }
