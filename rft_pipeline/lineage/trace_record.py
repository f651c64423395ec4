"""A record's trace: its facts, what it was made from, and what was made from it."""

from dataclasses import dataclass
from typing import Any

from rft_pipeline.campaign.addresses import BY_RULE, judged_criteria_in
from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.lineage.index import Index, Source, Use, campaign_of, round_of
from rft_pipeline.pipeline.links import asset_url, dagster_run_url, run_url
from rft_pipeline.stages.base import WARM_START
from rft_pipeline.store import Record


@dataclass(frozen=True)
class RecordFacts:
    """A record, links to its pages, and the records around it."""

    address: str
    stage: str
    campaign: str
    round: int
    fingerprint: str
    content_hash: str
    is_current: bool
    created: str
    seconds: float
    code_version: str
    settings: dict[str, Any]
    inputs: dict[str, str]
    rows: dict[str, int]
    metrics: dict[str, float]
    software: dict[str, str]
    folder: str
    dagster_asset_url: str
    dagster_run_id: str | None
    dagster_run_url: str | None
    mlflow_run_id: str | None
    mlflow_run_url: str | None
    equal: tuple[str, ...]
    """Other records of this stage with equal content."""
    made_from: tuple[Source, ...]
    made_into: tuple[Use, ...]


@dataclass(frozen=True)
class CriterionUse:
    """A criterion as a record used it."""

    name: str
    fingerprint: str
    protocol: str
    weight: float | None
    """Share of the reward; null in records without weights."""
    gate: float | None
    asks: dict[str, Any]
    """What the judge sees: the readable form of the fingerprint."""


@dataclass(frozen=True)
class JudgeWeights:
    """The weights of a judge."""

    content_hash: str
    same_as: tuple[str, ...]
    """Policies and checkpoints with these weights."""


@dataclass(frozen=True)
class ChainLink:
    """What one checkpoint was made from; an address is null if the record is gone."""

    checkpoint: str
    policy: str | None
    """The checkpoint or base policy it started from."""
    reward_batch: str | None
    rollouts: str | None
    generations: int
    """In how many generations the rollouts were sampled; 0 for all at once."""
    judge_scores: str | None
    rubric: str | None
    prompts: str | None
    prompts_files: dict[str, str]
    """Split → sha256 of the file."""
    criteria: tuple[CriterionUse, ...]
    judges: tuple[JudgeWeights, ...]


@dataclass(frozen=True)
class RecordTrace:
    """A record with its ancestors and descendants."""

    kind: str
    address: str
    criteria: tuple[CriterionUse, ...]
    judges: tuple[JudgeWeights, ...]
    chain: tuple[ChainLink, ...]
    """From the newest checkpoint among the record and its ancestors back to the base policy."""
    ancestors: tuple[str, ...]
    """Nearest first."""
    descendants: tuple[str, ...]
    """Nearest first."""
    records: dict[str, RecordFacts]
    """The record, its ancestors and its descendants, by address."""


def trace_record(index: Index, record: Record) -> RecordTrace:
    ancestors, descendants = index.ancestors(record), index.descendants(record)
    return RecordTrace(
        kind="record",
        address=record.address,
        criteria=criteria_of(index, record),
        judges=judges_of(index, record),
        chain=tuple(_chain(index, record, ancestors)),
        ancestors=tuple(each.address for each in ancestors),
        descendants=tuple(each.address for each in descendants),
        records={each.address: _facts(index, each) for each in (record, *ancestors, *descendants)},
    )


def criteria_of(index: Index, record: Record) -> tuple[CriterionUse, ...]:
    """The criteria that a record uses, with their weights and gates."""
    settings = record.payload["settings"]
    match record.payload["stage"]:
        case "judge_scores" | "eval_reports":
            return _uses(settings["criteria"], settings)
        case "reward_batches":
            scores = index.parent(record, "judge_scores")
            return () if scores is None else _uses(scores.payload["settings"]["criteria"], settings)
        case "checkpoints":
            batch = index.parent(record, "reward_batches")
            return () if batch is None else criteria_of(index, batch)
        case _:
            return ()


def judges_of(index: Index, record: Record) -> tuple[JudgeWeights, ...]:
    """The models whose judgements a record uses; empty if rules decide everything."""
    if "criteria" in record.payload["settings"]:
        contents = dict.fromkeys(
            each.judge
            for each in judged_criteria_in(record.payload)
            if each.judge != BY_RULE and "members" not in each.payload["judge"]
        )
        return tuple(JudgeWeights(each, tuple(same.address for same in index.weights(each))) for each in contents)
    above = {"reward_batches": "judge_scores", "checkpoints": "reward_batches"}.get(record.payload["stage"])
    parent = None if above is None else index.parent(record, above)
    return () if parent is None else judges_of(index, parent)


def _uses(criteria: dict[str, dict[str, Any]], settings: dict[str, Any]) -> tuple[CriterionUse, ...]:
    weights, gates = settings.get("weights", {}), settings.get("gates", {})
    return tuple(
        CriterionUse(
            name, fingerprint(payload), payload["judge"]["protocol"], weights.get(name), gates.get(name), payload
        )
        for name, payload in criteria.items()
    )


def _chain(index: Index, record: Record, ancestors: list[Record]) -> list[ChainLink]:
    checkpoints = [each for each in (record, *ancestors) if each.payload["stage"] == "checkpoints"]
    here = max(checkpoints, key=lambda each: (each is record, round_of(each)), default=None)
    links: dict[str, ChainLink] = {}
    while here is not None and here.address not in links:
        policy = index.parent(here, "policy")
        links[here.address] = _link(index, here, policy)
        here = policy
        for stage, role in ((WARM_START, "policy"), ("policy", "weights")):
            if here is not None and here.payload["stage"] == stage:
                here = index.parent(here, role)
    return list(links.values())


def _link(index: Index, checkpoint: Record, policy: Record | None) -> ChainLink:
    def above(record: Record | None, role: str) -> Record | None:
        return None if record is None else index.parent(record, role)

    batch = above(checkpoint, "reward_batches")
    rollouts, scores = above(batch, "rollouts"), above(batch, "judge_scores")
    prompts = above(rollouts, "prompts")
    return ChainLink(
        checkpoint=checkpoint.address,
        policy=_address(policy),
        reward_batch=_address(batch),
        rollouts=_address(rollouts),
        generations=0 if rollouts is None else len(rollouts.parts),
        judge_scores=_address(scores),
        rubric=_address(above(batch, "rubric")),
        prompts=_address(prompts),
        prompts_files={} if prompts is None else dict(prompts.payload["inputs"]),
        criteria=criteria_of(index, checkpoint),
        judges=judges_of(index, checkpoint),
    )


def _address(record: Record | None) -> str | None:
    return None if record is None else record.address


def _facts(index: Index, record: Record) -> RecordFacts:
    dagster, mlflow = record.dagster_run_id, record.mlflow_run_id
    return RecordFacts(
        address=record.address,
        stage=record.payload["stage"],
        campaign=campaign_of(record),
        round=round_of(record),
        fingerprint=record.fingerprint,
        content_hash=record.content_hash,
        is_current=record.address in index.current_addresses,
        created=record.created,
        seconds=record.seconds,
        code_version=record.payload["code_version"],
        settings=record.payload["settings"],
        inputs=record.payload["inputs"],
        rows=record.rows,
        metrics=record.metrics,
        software=record.software,
        folder=str(record.folder),
        dagster_asset_url=asset_url(record.key),
        dagster_run_id=dagster,
        dagster_run_url=None if dagster is None else dagster_run_url(dagster),
        mlflow_run_id=mlflow,
        mlflow_run_url=None if mlflow is None else run_url(index.home, mlflow),
        equal=tuple(each.address for each in index.equal(record)),
        made_from=tuple(index.made_from(record)),
        made_into=tuple(index.made_into(record)),
    )
