"""Rollouts with everything that records and tables contain about them.

A rollout names its policy and its sampling. The records made from these are known from the index, and only their files
are read.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl
import polars.selectors as cs

from rft_pipeline.audit.criterion import training_weights
from rft_pipeline.audit.stored import kept_weights
from rft_pipeline.campaign.addresses import (
    REPLY,
    JudgedCriterion,
    as_rollout,
    judged_criteria_in,
    kl_sampling_of,
    sampling_of,
)
from rft_pipeline.campaign.subjects import subjects_of
from rft_pipeline.evaluation.kl import KL_FILE
from rft_pipeline.judges import squashed
from rft_pipeline.lineage.index import Index, campaign_of
from rft_pipeline.lineage.judgements import JudgementFacts
from rft_pipeline.lineage.preferred import PreferenceFacts, preference_facts
from rft_pipeline.rules import Rollout
from rft_pipeline.store import Record, judgements_table, rollouts_table
from rft_pipeline.store.rows import judgement_id

TEXTS = ("rollout_id", "policy", "prompt_id", "sampling", "sample_index", "completion", "thought", "finish_reason")
"""Columns without lists: a scan would decode the lists of every row."""
_JUDGED = ("score", "status", "reason", "raw", "tokens")
_REWARDED = ("scores", "gated", "reward", "advantage", "excluded", "labelled")
_WEIGHTS = cs.by_name("group_weights", require_all=False)
"""Only in batches made with `audit.by_group`."""
_EVALUATED = ("round", "scores", "gated", "reward")


@dataclass(frozen=True)
class BatchFacts:
    """A rollout in a reward batch."""

    address: str
    is_current: bool
    scores: dict[str, float | None]
    gated: bool
    reward: float | None
    advantage: float
    excluded: str | None
    """Why it was not trained on; null if it was."""
    checkpoints: tuple[str, ...]
    """Checkpoints trained on this batch."""
    labelled: tuple[str, ...] = ()
    """Criteria whose score is people's."""
    group_weights: dict[str, float] = field(default_factory=dict)
    """Weight of each criterion in the rollout's group after its judge's noise; empty without `audit.by_group`."""
    weights: dict[str, float] = field(default_factory=dict)
    """Weight of each criterion in the reward: the rubric's, times the part that the audit keeps; they sum to 1. Empty
    if the audit's record was deleted."""


@dataclass(frozen=True)
class EvaluationFacts:
    """A rollout in an eval report."""

    address: str
    is_current: bool
    round: int
    """Round of the policy that sampled it; 0 is base."""
    scores: dict[str, float | None]
    gated: bool
    reward: float | None
    weights: dict[str, float]
    """As in `BatchFacts`."""


@dataclass(frozen=True)
class RolloutFacts:
    """A rollout, its judgements, and what was made from it."""

    rollout_id: str
    prompt_id: str
    sample_index: int
    policy: str
    """Content hash of the weights that sampled it."""
    policy_records: tuple[str, ...]
    """Checkpoints and base policies with these weights, current ones first."""
    generation: int | None
    """Its generation within the round; null where the round was sampled at once, or for a held-out prompt."""
    sampling: str
    completion: str
    thought: str
    tokens: int
    finish_reason: str
    records: tuple[str, ...]
    """The rollouts records that contain it, and the eval reports that estimate a KL on it."""
    judgements: tuple[JudgementFacts, ...]
    batches: tuple[BatchFacts, ...]
    evaluations: tuple[EvaluationFacts, ...]
    preferences: tuple[PreferenceFacts, ...] = ()
    """People's answers to pairs with this rollout; of one campaign if the trace is of one."""

    @property
    def trained(self) -> tuple[str, ...]:
        """The checkpoints trained on it."""
        used = [batch.checkpoints for batch in self.batches if batch.excluded is None]
        return tuple(dict.fromkeys(address for addresses in used for address in addresses))


@dataclass
class _Found:
    """Facts about one rollout, collected while records are read."""

    tokens: int | None = None
    generation: int | None = None
    records: list[str] = field(default_factory=list)
    judgements: dict[tuple[str, str, str], dict[str, Any]] = field(default_factory=dict)
    batches: dict[str, BatchFacts] = field(default_factory=dict)
    evaluations: list[EvaluationFacts] = field(default_factory=list)


def find_rollouts(index: Index, where: pl.Expr) -> pl.DataFrame:
    """Rows of the rollouts table, without lists, ordered by policy, prompt and sample."""
    rows = rollouts_table(index.home.store).rows(where).select(TEXTS).collect()
    return rows.sort("policy", "prompt_id", "sample_index", "sampling")


def rollout_facts(index: Index, rows: pl.DataFrame, campaign: str | None = None) -> list[RolloutFacts]:
    """Facts from records (of one campaign, or of all) about rows of `find_rollouts`, in their order."""
    found: dict[str, _Found] = defaultdict(_Found)
    ids = list(rows["rollout_id"])
    made_by = set(rows.select("policy", "sampling").iter_rows())
    for record in _holders(index, made_by, campaign):
        if record.payload["stage"] == "eval_reports":
            _read_report(index, record, ids, found)
        else:
            _read_training(index, record, ids, found, campaign)
    unrecorded = [each for each in ids if found[each].tokens is None]
    lengths = _lengths(index, rows.filter(pl.col("rollout_id").is_in(unrecorded))) if unrecorded else {}
    preferences = preference_facts(index, ids, campaign)
    return [
        _facts(index, row, found[row["rollout_id"]], lengths, preferences[row["rollout_id"]])
        for row in rows.iter_rows(named=True)
    ]


def _facts(
    index: Index,
    row: Mapping[str, Any],
    found: _Found,
    lengths: Mapping[str, int],
    preferences: Sequence[PreferenceFacts],
) -> RolloutFacts:
    judgements = [
        JudgementFacts(criterion, fingerprint, judge=judge, **{**values, "records": tuple(values["records"])})
        for (criterion, fingerprint, judge), values in sorted(found.judgements.items(), key=lambda item: item[0])
    ]
    return RolloutFacts(
        **{name: row[name] for name in TEXTS},
        policy_records=tuple(each.address for each in index.weights(row["policy"])),
        generation=found.generation,
        tokens=lengths[row["rollout_id"]] if found.tokens is None else found.tokens,
        records=tuple(found.records),
        judgements=tuple(judgements),
        batches=tuple(found.batches.values()),
        evaluations=tuple(found.evaluations),
        preferences=tuple(preferences),
    )


def _holders(index: Index, made_by: set[tuple[str, str]], campaign: str | None) -> list[Record]:
    """Rollouts records and eval reports that may contain rows of these policies and samplings."""
    sampled = [*index.of_stage("rollouts"), *index.of_stage("eval_reports")]
    return [
        record
        for record in sampled
        if campaign in (None, campaign_of(record))
        and not made_by.isdisjoint(
            (content, sampling) for content in _policies(record) for sampling in _samplings(record)
        )
    ]


def _policies(record: Record) -> list[str]:
    """The contents that a record was made from, and the policies of its generations."""
    return [*record.payload["inputs"].values(), *record.parts.values()]


def _samplings(record: Record) -> list[str]:
    """The samplings of a record's rollouts: an eval report may sample differently for its KL."""
    settings = record.payload["settings"]
    return [sampling_of(settings), *([kl_sampling_of(settings)] if "alarms" in settings else [])]


def _read_training(
    index: Index, record: Record, ids: Sequence[str], found: dict[str, _Found], campaign: str | None
) -> None:
    """A round's rollouts, their judgements, and the batches they are in."""
    generation = cs.by_name("generation", require_all=False)
    rows = _rows(record, ids, "rollout_id", pl.col("tokens").list.len(), generation)
    lengths = dict(rows.select("rollout_id", "tokens").iter_rows())
    for row in rows.iter_rows(named=True):
        rollout = found[row["rollout_id"]]
        rollout.tokens, rollout.generation = row["tokens"], row.get("generation")
        rollout.records.append(record.address)
    if not lengths:
        return
    for scores, _ in index.made_into_stage(record, "judge_scores"):
        if campaign in (None, campaign_of(scores)):
            criteria = {each.name: each for each in judged_criteria_in(scores.payload)}
            for row in _rows(scores, list(lengths), "rollout_id", "criterion", *_JUDGED).iter_rows(named=True):
                rollout = found[row.pop("rollout_id")]
                _add_judgement(rollout, scores, criteria[row.pop("criterion")], row)
    for batch, _ in index.made_into_stage(record, "reward_batches"):
        if campaign in (None, campaign_of(batch)):
            fixed: dict[str, Any] = {
                "address": batch.address,
                "is_current": batch.address in index.current_addresses,
                "weights": _reward_weights(index, batch),
                "checkpoints": tuple(each.address for each, _ in index.made_into_stage(batch, "checkpoints")),
            }
            for row in _rows(batch, list(lengths), "rollout_id", *_REWARDED, _WEIGHTS).iter_rows(named=True):
                rollout, labelled = found[row.pop("rollout_id")], tuple(row.pop("labelled"))
                rollout.batches[batch.address] = BatchFacts(**fixed, **row, labelled=labelled)


def _read_report(index: Index, report: Record, ids: Sequence[str], found: dict[str, _Found]) -> None:
    """Held-out rollouts of an eval report; their judgements are read from the table."""
    rows = _rows(report, ids, "rollout_id", *_EVALUATED, *REPLY, pl.col("tokens").list.len().alias("length"))
    weights = _reward_weights(index, report)
    for row in rows.iter_rows(named=True):
        rollout = found[row["rollout_id"]]
        rollout.tokens = row["length"]
        facts = {name: row[name] for name in _EVALUATED} | {"weights": weights}
        rollout.evaluations.append(EvaluationFacts(report.address, report.address in index.current_addresses, **facts))
    if rows.height:
        _read_table(index, report, rows, found)
    if (path := report.folder / KL_FILE).is_file():
        drawn = pl.scan_parquet(path, glob=False).filter(pl.col("rollout_id").is_in(list(ids)))
        for rollout_id, count in drawn.select("rollout_id", pl.col("tokens").list.len()).collect().iter_rows():
            found[rollout_id].tokens = count
            found[rollout_id].records.append(report.address)


def _reward_weights(index: Index, record: Record) -> dict[str, float]:
    """The weights of the rewards in a batch or report."""
    weights: dict[str, float] = record.payload["settings"]["weights"]
    if "judge_audit" not in record.upstream:
        return weights
    audit = index.parent(record, "judge_audit")
    return {} if audit is None else training_weights(weights, kept_weights(audit))


def _read_table(index: Index, report: Record, rows: pl.DataFrame, found: dict[str, _Found]) -> None:
    """The judgements of a report's rows, looked up by what each judge saw."""
    names = report.payload["settings"]["criteria"]
    criteria = [each for each in judged_criteria_in(report.payload) if each.name in names]
    among = pl.scan_parquet(report.path("eval_reports.parquet"), glob=False).select("rollout_id", *REPLY)
    groups = among.filter(pl.col("messages").is_in(rows["messages"].unique().implode())).collect()
    views = [as_rollout(row) for row in groups.iter_rows(named=True)]
    wanted = [
        groups.select("rollout_id", judgement_id=pl.Series(_keys(each, views), dtype=pl.String)).filter(
            pl.col("rollout_id").is_in(list(found))
        )
        for each in criteria
    ]
    stored = judgements_table(index.home.store).rows(
        pl.col("criterion").is_in([each.key.criterion for each in criteria]),
        pl.col("judgement_id").is_in(pl.concat(wanted)["judgement_id"].implode()),
    )
    judgements = stored.select("judgement_id", *_JUDGED, "measured").collect()
    for criterion, keys in zip(criteria, wanted, strict=True):
        for values in squashed(keys.join(judgements, on="judgement_id"), criterion.payload).iter_rows(named=True):
            rollout_id = values.pop("rollout_id")
            del values["judgement_id"]
            _add_judgement(found[rollout_id], report, criterion, values)


def _keys(criterion: JudgedCriterion, views: Sequence[Rollout]) -> list[str]:
    return [judgement_id(*criterion.key, subject) for subject in subjects_of(views, criterion.payload)]


def _add_judgement(rollout: _Found, record: Record, criterion: JudgedCriterion, values: Mapping[str, Any]) -> None:
    """One entry per criterion, wording and judge, with all the records that contain it."""
    key = (criterion.name, criterion.fingerprint, criterion.judge)
    protocol = criterion.payload["judge"]["protocol"]
    judgement = rollout.judgements.setdefault(key, {**values, "protocol": protocol, "records": []})
    judgement["records"].append(record.address)


def _rows(record: Record, ids: Sequence[str], *columns: str | pl.Expr | cs.Selector) -> pl.DataFrame:
    path = record.path(f"{record.payload['stage']}.parquet")
    return pl.scan_parquet(path, glob=False).filter(pl.col("rollout_id").is_in(list(ids))).select(columns).collect()


def _lengths(index: Index, rows: pl.DataFrame) -> dict[str, int]:
    """Token counts of rollouts that no record contains, from the table."""
    narrow = [pl.col(name).is_in(rows[name].unique().implode()) for name in ("policy", "prompt_id", "rollout_id")]
    counted = rollouts_table(index.home.store).rows(*narrow).select("rollout_id", pl.col("tokens").list.len())
    return dict(counted.collect().iter_rows())


def mean(numbers: Iterable[float | None]) -> float | None:
    """Mean of the known numbers; None if none is known."""
    known = [number for number in numbers if number is not None]
    return sum(known) / len(known) if known else None
