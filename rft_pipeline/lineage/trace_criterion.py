"""A criterion's trace: its versions, their judge scores, and the checkpoints each influenced."""

from collections import deque
from dataclasses import dataclass
from typing import Any

from rft_pipeline.campaign.addresses import judged_criteria_in
from rft_pipeline.lineage.index import EQUAL, POLICIES, READ, Index, campaign_of
from rft_pipeline.store import Record


@dataclass(frozen=True)
class ScoresRecord:
    """A record of judge scores that used the criterion."""

    address: str
    is_current: bool
    created: str
    judge: str
    """Content hash of the judge model, or `rule`."""
    mean: float | None


@dataclass(frozen=True)
class Influence:
    """A checkpoint that the criterion's judgements influenced."""

    address: str
    is_current: bool
    via: str
    """The reward batch with the judgements, or the influenced policy that it started from."""
    by: str
    """`read`, or `equal content` if other records of equal content were read."""
    weight: float | None = None
    """In the batch; null by descent."""
    gate: float | None = None


@dataclass(frozen=True)
class CriterionVersion:
    """One wording of a criterion and its effects."""

    fingerprint: str
    names: tuple[str, ...]
    """`<campaign>:<name>`, oldest first."""
    asks: dict[str, Any]
    """What the judge sees: the readable form of the fingerprint."""
    created: str
    """When the first record with it was made."""
    judge_scores: tuple[ScoresRecord, ...]
    eval_reports: tuple[str, ...]
    unweighted: tuple[str, ...]
    """Reward batches with its judgements at weight 0 and without a gate, which do not use them."""
    direct: tuple[Influence, ...]
    """Checkpoints trained on its judgements."""
    by_descent: tuple[Influence, ...]
    """Other checkpoints, which started from an influenced one."""


@dataclass(frozen=True)
class CriterionTrace:
    """The versions of a criterion, oldest first."""

    kind: str
    versions: tuple[CriterionVersion, ...]


def trace_criterion(index: Index, fingerprints: list[str]) -> CriterionTrace:
    return CriterionTrace("criterion", tuple(_version(index, each, index.criteria[each]) for each in fingerprints))


def _version(index: Index, criterion: str, uses: list[tuple[Record, str]]) -> CriterionVersion:
    first, name = uses[0]
    payload = first.payload["settings"]["criteria"][name]
    scores = [(record, name) for record, name in uses if record.payload["stage"] == "judge_scores"]
    direct, unweighted = _direct(index, scores)
    return CriterionVersion(
        fingerprint=criterion,
        names=tuple(dict.fromkeys(f"{campaign_of(record)}:{name}" for record, name in uses)),
        asks=payload,
        created=first.created,
        judge_scores=tuple(
            ScoresRecord(
                address=record.address,
                is_current=record.address in index.current_addresses,
                created=record.created,
                judge=next(each.judge for each in judged_criteria_in(record.payload) if each.name == name),
                mean=record.metrics.get(f"score_{name}"),
            )
            for record, name in scores
        ),
        eval_reports=tuple(record.address for record, _ in uses if record.payload["stage"] == "eval_reports"),
        unweighted=unweighted,
        direct=tuple(direct.values()),
        by_descent=tuple(_by_descent(index, direct)),
    )


def _direct(index: Index, scores: list[tuple[Record, str]]) -> tuple[dict[str, Influence], tuple[str, ...]]:
    """Checkpoints of the batches that use the criterion, by address; and the batches that do not."""
    found: dict[str, Influence] = {}
    unweighted: dict[str, None] = {}
    for record, name in scores:
        for batch, batch_by in index.made_into_stage(record, "reward_batches"):
            settings = batch.payload["settings"]
            weight, gate = settings["weights"].get(name), settings["gates"].get(name)
            if not weight and gate is None:
                unweighted[batch.address] = None
                continue
            for trained, trained_by in index.made_into_stage(batch, "checkpoints"):
                by = READ if batch_by == trained_by == READ else EQUAL
                here = Influence(
                    trained.address, trained.address in index.current_addresses, batch.address, by, weight, gate
                )
                if here.by == READ or here.address not in found:
                    found[here.address] = here
    return found, tuple(unweighted)


def _by_descent(index: Index, direct: dict[str, Influence]) -> list[Influence]:
    """Checkpoints that started from an influenced one, directly or not, over rounds and campaigns."""
    found: dict[str, Influence] = {}
    waiting = deque(direct)
    while waiting:
        policy = waiting.popleft()
        for use in index.made_into(index.by_address[policy]):
            if use.role not in ("policy", "weights") or use.address in found or use.address in direct:
                continue
            stage = index.by_address[use.address].payload["stage"]
            if stage in POLICIES:
                found[use.address] = Influence(use.address, use.address in index.current_addresses, policy, use.by)
                waiting.append(use.address)
    return [each for each in found.values() if index.by_address[each.address].payload["stage"] == "checkpoints"]
