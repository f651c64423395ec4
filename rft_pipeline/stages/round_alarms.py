"""The alarms of an eval report: the judgements that only they need, and the verdict on the newest round."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from rft_pipeline.alarms.assess import assess
from rft_pipeline.alarms.drift import ANCHORS, Drift, drift, judge_drift, moved_by
from rft_pipeline.alarms.findings import Finding
from rft_pipeline.alarms.history import (
    ANCHORS_FILE,
    DriftProcess,
    across_cycles,
    drift_processes,
    read_scored,
    within_cycle,
)
from rft_pipeline.alarms.phrases import Phrase, PhraseEffect, phrases
from rft_pipeline.alarms.replies import Replies
from rft_pipeline.alarms.watch import (
    ASKED,
    ASKED_FILE,
    alarms_in,
    anchors_scored,
    held_out_scores,
    judges_changed,
    next_start,
    phrase_effects,
    phrase_trials,
    replies_of,
    round_entry,
    scores_by_round,
)
from rft_pipeline.audit.rows import audit_rows, compares, rows_to_judge
from rft_pipeline.campaign import Alarms
from rft_pipeline.campaign.addresses import (
    as_rollout,
    judged_criteria,
    judged_criteria_in,
    judges_for_alarms,
    kl_draw,
)
from rft_pipeline.campaign.cycles import ANCHORS as CYCLE_ANCHORS
from rft_pipeline.campaign.cycles import DRIFT, cycle_of
from rft_pipeline.campaign.rubric import Criterion
from rft_pipeline.campaign.subjects import subjects_of
from rft_pipeline.engines import Scorer
from rft_pipeline.evaluation.compare import RoundRows
from rft_pipeline.evaluation.kl import KL, KL_FILE, kl_of, sequence_kl
from rft_pipeline.prompts.anchors import anchors_of
from rft_pipeline.rules.slots import has_slots
from rft_pipeline.stages.job import Job
from rft_pipeline.stats import Interval
from rft_pipeline.store import Record


@dataclass(frozen=True)
class Watched:
    """The alarms' part of an eval report."""

    report: dict[str, Any]
    metrics: dict[str, float | None]
    next_start: int
    """The round whose checkpoint the next round starts from; 0 for base."""


def kl_rows(job: Job, prompts: pl.DataFrame, roles: Sequence[str]) -> tuple[pl.DataFrame, int]:
    """The replies on which the KL of all rounds is estimated, by the schema `KL`; and how many were sampled now.

    Values of the previous report are kept. `roles` holds base first, then each round's checkpoint.
    """
    chosen, count, sampling = kl_draw(job.campaign, prompts)
    base, runtime = job.upstream["base"].content_hash, job.campaign.evaluation.runtime
    drawn, made = [], 0
    for round_, role in enumerate(roles):
        if chosen.is_empty() or job.upstream[role].content_hash == base:
            continue
        rows, sampled = job.sample(chosen, role, count, sampling, runtime)
        drawn.append(rows.with_columns(pl.lit(round_, pl.Int64).alias("round")))
        made += sampled
    if not drawn:
        return KL.to_frame(), 0
    rows = pl.concat(drawn)
    known = _measured(job.upstream.get("before"))
    missing = rows.join(known, on="rollout_id", how="anti", maintain_order="left").unique(
        "rollout_id", maintain_order=True
    )
    with ExitStack() as engines:

        def load_base() -> Scorer:
            loaded = job.load_policy("base", runtime)
            return engines.enter_context(closing(loaded))

        scored = pl.concat([known, sequence_kl(missing, load_base)])
    found = rows.join(scored, on="rollout_id", how="left", maintain_order="left")
    return found.select(pl.col(name).cast(kind) for name, kind in KL.items()), made


def with_held_out(job: Job, how: Alarms, found: Mapping[str, RoundRows]) -> dict[str, RoundRows]:
    """Judges the criteria of the alarms and adds the column `held_out`."""
    rows = pl.concat([each.rows for each in found.values()]).unique("rollout_id", maintain_order=True)
    seen = pl.DataFrame(schema={"rollout_id": pl.String, "held_out": pl.Float64})
    if how.held_out:
        seen = held_out_scores(job.judge(rows, how.held_out)[0], how.held_out_weights())
    return {
        role: replace(each, rows=each.rows.join(seen, on="rollout_id", how="left", maintain_order="left"))
        for role, each in found.items()
    }


def watch(job: Job, how: Alarms, rounds: Sequence[RoundRows], first: RoundRows, kl: pl.DataFrame) -> Watched:
    """Score the anchors, and give a verdict on the newest round; earlier verdicts stay. `rounds` begin with the
    baseline, and `first` is the policy that round 1 started from; all have the column `held_out`."""
    seed, number = job.campaign.seed, rounds[-1].round
    system = None if has_slots(job.campaign.policy.system) else job.campaign.policy.system
    replies = [replies_of(each, _kl(each, rounds[0], kl, how, seed), system) for each in rounds]
    before = job.upstream.get("before")
    earlier = [] if before is None else alarms_in(before)["verdicts"]
    started = number - 1 if before is None or before.next_start is None else before.next_start
    now, base = replies[-1], replies[0]
    start = replies[started] if started else replies_of(first, system=system)
    found = phrases(now, base, how.phrases)
    anchors, tries, asked = _anchors(job, how, found, now, base, before)
    drifts = drift(anchors, how, seed)
    weights = job.weights()
    drifted = judge_drift(drifts, number, how, [name for name, weight in weights.items() if weight])
    findings = [
        *drifted.values(),
        *_changed(job, before, anchors.filter(pl.col("round") < number)["criterion"].unique().to_list()),
    ]
    fired = next((each["causes"] for each in earlier if each["round"] == started), ())
    verdict = assess(now, base, start, fired, how, seed, found, tries, findings)
    training = [finding for name, finding in drifted.items() if weights.get(name)]
    moved = moved_by(now, start, training, how, seed)
    verdicts = [*earlier, round_entry(number, started, verdict, moved, found, drifts, tries)]
    scores = scores_by_round(replies, how, seed)
    chosen = next_start(verdicts, scores)
    names = [criterion.name for criterion in how.held_out]
    report = {
        "held_out": names,
        "base": rounds[0].name,
        "first": first.name,
        "scores": scores,
        "verdicts": verdicts,
        "start_round": chosen,
    }
    anchors.write_parquet(job.workdir / ANCHORS_FILE)
    asked.write_parquet(job.workdir / ASKED_FILE)
    kl.write_parquet(job.workdir / KL_FILE)
    return Watched(report, _metrics(scores[-1], verdict.level, drifts), chosen)


def _kl(each: RoundRows, base: RoundRows, rows: pl.DataFrame, how: Alarms, seed: int) -> Interval | None:
    """A round's KL to base: exactly 0 for base's own weights."""
    if each.round and each.policy == base.policy and how.kl_prompts:
        return Interval(0.0, 0.0, 0.0)
    return kl_of(rows, each.round, how.resamples, seed)


def _anchors(
    job: Job, how: Alarms, found: Sequence[Phrase], now: Replies, base: Replies, before: Record | None
) -> tuple[pl.DataFrame, list[PhraseEffect], pl.DataFrame]:
    """All rounds' anchors with the scores of each round's judges, the phrases' effects on bad anchors, and the subjects
    that were judged.

    A judge with weights scores an anchor once, because the same weights give the same score. A judge behind a server
    scores again whenever the round is trained again, and is compared with its first scores: those of an earlier cycle,
    whose rounds are counted back from 0; else those of the audit or of now, as round 0. A criterion of the alarms has
    no labels, so its judge scores all anchors.
    """
    campaign = job.campaign
    past = _past(job, before)
    unlabelled = [criterion for criterion in how.held_out if criterion.judged]
    if campaign.anchors_path is None or not (campaign.rubric.judged or unlabelled):
        return past, [], ASKED.to_frame()
    weights = job.weights()
    rows = audit_rows(anchors_of(campaign), 0, campaign.seed)
    trained = job.upstream[f"checkpoints_{now.round}"].content_hash
    of_round = replace(job, sources=judges_for_alarms(campaign, job.sources, now.round, trained))
    tables, scored, asked = [past], [], [ASKED.to_frame()]
    scored_before = set(past["criterion"])

    def score(criterion: Criterion, anchors: pl.DataFrame) -> None:
        first = () if criterion.name in scored_before else ((0, job),)
        for round_, judging in (*first, (now.round, of_round)):
            scores, _ = judging.judge(anchors, [criterion])
            asked.append(_asked(anchors, criterion, judging.sources))
            tables.append(anchors_scored(anchors, scores, criterion, round_, job.sources))

    for criterion in campaign.rubric.judged:
        labelled = rows_to_judge(rows, criterion)
        if not labelled.height:
            continue
        score(criterion, labelled)
        trains = weights[criterion.name] and not compares(criterion)
        trial = None if not trains else phrase_trials(rows, criterion, found, now, base, campaign.seed)
        if trial is not None:
            scored.append((trial, job.judge(trial.rows, [criterion])[0]))
            asked.append(_asked(trial.rows, criterion, job.sources))
    for criterion in unlabelled:
        score(criterion, rows)
    return (
        pl.concat(tables),
        phrase_effects(scored, weights, how, campaign.seed),
        pl.concat(asked).unique(maintain_order=True),
    )


def _asked(rows: pl.DataFrame, criterion: Criterion, judges: Mapping[str, str]) -> pl.DataFrame:
    """The keys of a criterion's judgements of rows in the table of judgements: criterion, judge, subject."""
    views = [as_rollout(row) for row in rows.iter_rows(named=True)]
    found = [
        pl.DataFrame({"subject": subjects_of(views, each.payload)}).select(
            pl.lit(each.key.criterion).alias("criterion"), pl.lit(each.judge).alias("judge"), "subject"
        )
        for each in judged_criteria([criterion], judges)
    ]
    return pl.concat(found)


def _changed(job: Job, before: Record | None, bridged: Sequence[str]) -> list[Finding]:
    if before is None:
        return []
    return judges_changed(
        judged_criteria_in(before.payload), judged_criteria(job.campaign.evaluated, job.sources), bridged
    )


def _past(job: Job, before: Record | None) -> pl.DataFrame:
    """The scored anchors that this round's drift continues: those of the previous report, or of the previous cycle."""
    now = drift_processes(job.made_from)
    if before is not None:
        return within_cycle(read_scored(before.folder / ANCHORS_FILE), drift_processes(before.payload), now)
    cycle = cycle_of(job.campaign, job.home) if DRIFT in job.sources else None
    if cycle is None or cycle.drift is None:
        return ANCHORS.to_frame()
    then = {name: DriftProcess(**each) for name, each in cycle.drift["processes"].items()}
    return across_cycles(read_scored(cycle.folder / CYCLE_ANCHORS), then, now)


def _measured(before: Record | None) -> pl.DataFrame:
    """rollout_id and `kl` in the previous report."""
    if before is None:
        return KL.to_frame().select("rollout_id", "kl")
    rows = pl.read_parquet(before.path(KL_FILE), columns=["rollout_id", "kl"], glob=False)
    return rows.drop_nulls().unique("rollout_id", maintain_order=True)


def _metrics(newest: Mapping[str, Any], level: int, drifts: Sequence[Drift]) -> dict[str, float | None]:
    evidence = [each.evidence for each in drifts if each.round == newest["round"]]
    return {
        "alarm_level": float(level),
        "held_out": newest["held_out"]["mean"],
        **{f"held_out_{name}": value for name, value in newest["held_out_delta"].items() if name != "mean"},
        "held_out_delta": newest["held_out_delta"]["mean"],
        **({} if newest["kl"] is None else _named("kl", newest["kl"])),
        "judge_drift_evidence": max(evidence, default=None),
    }


def _named(name: str, interval: Mapping[str, float | None]) -> dict[str, float | None]:
    """An interval's mean and bounds as metrics."""
    return {name: interval["mean"], f"{name}_lower95": interval["lower95"], f"{name}_upper95": interval["upper95"]}
