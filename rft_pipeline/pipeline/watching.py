"""The alarms of an eval report: what is judged for them beside the report itself, and the verdict of its round."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from rft_pipeline.addresses import as_rollout, asked_anew, asked_in, asked_of, subjects_of
from rft_pipeline.alarms import (
    ANCHORS,
    Drift,
    Finding,
    Phrase,
    Replies,
    Tried,
    assess,
    drift,
    judge_drift,
    moved_by,
    phrases,
)
from rft_pipeline.campaign import Alarms
from rft_pipeline.engines import Scorer, load
from rft_pipeline.graph import START
from rft_pipeline.pipeline.job import Job
from rft_pipeline.rubric import Criterion
from rft_pipeline.stages.alarms import (
    ASKED,
    ASKED_FILE,
    alarms_in,
    anchors_scored,
    entry,
    held_out_scores,
    judges_changed,
    next_start,
    replies_of,
    scores_by_round,
    sequence_kl,
    trials,
    tried,
)
from rft_pipeline.stages.audit_rows import asked_about, audit_rows, compares
from rft_pipeline.stages.eval_reports import RoundRows
from rft_pipeline.stages.prompts import read_anchors
from rft_pipeline.store import Record

ANCHORS_FILE = "anchors.parquet"


@dataclass(frozen=True)
class Watched:
    """What the alarms add to an eval report."""

    rounds: list[RoundRows]
    """With the columns `held_out` and `kl`."""
    report: dict[str, Any]
    metrics: dict[str, float | None]


def distances(job: Job, drawn: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """rollout_id and `kl` of all replies of rounds after base, as far as they can be told; what the report before
    measured is not measured again. `drawn` holds base's replies first."""
    schema = {"rollout_id": pl.String, "kl": pl.Float64}
    if job.campaign.policy.is_served or len(drawn) == 1:
        return pl.DataFrame(schema=schema)
    rows = pl.concat(drawn[1:]).unique("rollout_id", maintain_order=True)
    own = rows.filter(pl.col("rollout_id").is_in(drawn[0]["rollout_id"].implode()))
    same = own.select("rollout_id", pl.lit(0.0).alias("kl"))
    known = pl.concat([same, _measured(job.upstream.get("before"), schema)]).drop_nulls().unique("rollout_id")
    missing = rows.join(known, on="rollout_id", how="anti", maintain_order="left")
    with ExitStack() as engines:

        def base() -> Scorer:
            loaded = load.load_engine(job.policy_folder("base"), job.campaign.evaluation.runtime)
            return engines.enter_context(closing(loaded))

        return pl.concat([known, sequence_kl(missing, base)])


def watch(job: Job, how: Alarms, rounds: Sequence[RoundRows], far: pl.DataFrame) -> Watched:
    """Judge what only watches, score the anchors, and weigh the newest round; earlier verdicts stay as they were."""
    rows = pl.concat([each.rows for each in rounds]).unique("rollout_id", maintain_order=True)
    seen = pl.DataFrame(schema={"rollout_id": pl.String, "held_out": pl.Float64})
    if how.held_out:
        seen = held_out_scores(job.judge(rows, how.held_out)[0], how.held_out_weights())
    told = [
        replace(
            each,
            rows=each.rows.join(seen, on="rollout_id", how="left", maintain_order="left").join(
                far, on="rollout_id", how="left", maintain_order="left"
            ),
        )
        for each in rounds
    ]
    seed, number = job.campaign.seed, rounds[-1].round
    replies = [replies_of(each, how.resamples, seed) for each in told]
    before = job.upstream.get("before")
    earlier = [] if before is None else alarms_in(before)["verdicts"]
    started = number - 1 if before is None else int(before.metrics.get(START, number - 1))
    now, base, start = replies[-1], replies[0], replies[started]
    found = phrases(now, base, how.phrases)
    anchors, tries, asked = _anchors(job, how, found, now, base, before)
    drifts = drift(anchors, how, seed)
    weights = job.weights()
    drifted = judge_drift(drifts, number, how, [name for name, weight in weights.items() if weight])
    findings = [*drifted.values(), *_changed(job, before, anchors["criterion"].unique().to_list())]
    fired = next((each["causes"] for each in earlier if each["round"] == started), ())
    verdict = assess(now, base, start, fired, how, seed, found, tries, findings)
    training = [finding for name, finding in drifted.items() if weights.get(name)]
    moved = moved_by(now, start, training, how, seed)
    verdicts = [*earlier, entry(number, started, verdict, moved, found, drifts, tries)]
    scores = scores_by_round(replies, how, seed)
    chosen = next_start(verdicts, scores)
    names = [criterion.name for criterion in how.held_out]
    report = {"held_out": names, "scores": scores, "verdicts": verdicts, START: chosen}
    anchors.write_parquet(job.workdir / ANCHORS_FILE)
    asked.write_parquet(job.workdir / ASKED_FILE)
    return Watched(told, report, _metrics(scores[-1], verdict.level, chosen, drifts))


def _anchors(
    job: Job, how: Alarms, found: Sequence[Phrase], now: Replies, base: Replies, before: Record | None
) -> tuple[pl.DataFrame, list[Tried], pl.DataFrame]:
    """All rounds' anchors as scored by each round's judges, what the phrases do to bad ones, and what was asked.

    A judge with weights is asked once: the same weights say the same again. One behind a server is asked anew
    whenever the round is trained anew, and is held against what it said when it was asked first, be that in an earlier
    cycle or in the audit: those answers are round 0. One that only watches is asked about all anchors: there are no
    labels for it.
    """
    campaign = job.campaign
    past = pl.DataFrame(schema=ANCHORS) if before is None else _past(before)
    unlabelled = [criterion for criterion in how.held_out if criterion.judged]
    if campaign.anchors_path is None or not (campaign.rubric.judged or unlabelled):
        return past, [], ASKED.to_frame()
    weights = job.weights()
    rows = audit_rows(read_anchors(campaign.anchors_path, campaign.rubric), 0, campaign.seed)
    trained = job.upstream[f"checkpoints_{now.round}"].content_hash
    anew = replace(job, sources=asked_anew(campaign, job.sources, now.round, trained))
    tables, scored, asked = [past], [], [ASKED.to_frame()]

    def score(criterion: Criterion, about: pl.DataFrame) -> None:
        for round_, whom in ((0, job), (now.round, anew)) if before is None else ((now.round, anew),):
            scores, _ = whom.judge(about, [criterion])
            asked.append(_asked(about, criterion, whom.sources))
            tables.append(anchors_scored(about, scores, criterion, round_, job.sources))

    for criterion in campaign.rubric.judged:
        labelled = asked_about(rows, criterion)
        if not labelled.height:
            continue
        score(criterion, labelled)
        pays = weights[criterion.name] and not compares(criterion)
        trial = None if not pays else trials(rows, criterion, found, now, base, how, campaign.seed)
        if trial is not None:
            scored.append((trial, job.judge(trial.rows, [criterion])[0]))
            asked.append(_asked(trial.rows, criterion, job.sources))
    for criterion in unlabelled:
        score(criterion, rows)
    return pl.concat(tables), tried(scored, weights, how, campaign.seed), pl.concat(asked).unique(maintain_order=True)


def _asked(rows: pl.DataFrame, criterion: Criterion, judges: Mapping[str, str]) -> pl.DataFrame:
    """What a criterion's judges are asked about rows, as the judgements table spells it."""
    views = [as_rollout(row) for row in rows.iter_rows(named=True)]
    found = [
        pl.DataFrame({"subject": subjects_of(views, each.payload)}).select(
            pl.lit(each.question.criterion).alias("criterion"), pl.lit(each.judge).alias("judge"), "subject"
        )
        for each in asked_of([criterion], judges)
    ]
    return pl.concat(found)


def _changed(job: Job, before: Record | None, bridged: Sequence[str]) -> list[Finding]:
    if before is None:
        return []
    return judges_changed(asked_in(before.payload), asked_of(job.campaign.evaluated, job.sources), bridged)


def _past(before: Record) -> pl.DataFrame:
    path = before.folder / ANCHORS_FILE
    return pl.read_parquet(path) if path.is_file() else pl.DataFrame(schema=ANCHORS)


def _measured(before: Record | None, schema: Mapping[str, Any]) -> pl.DataFrame:
    if before is None:
        return pl.DataFrame(schema=schema)
    rows = pl.read_parquet(before.path("eval_reports.parquet"))
    return rows.select(list(schema)) if "kl" in rows.columns else pl.DataFrame(schema=schema)


def _metrics(newest: Mapping[str, Any], level: int, chosen: int, drifts: Sequence[Drift]) -> dict[str, float | None]:
    evidence = [each.evidence for each in drifts if each.round == newest["round"]]
    return {
        "alarm_level": float(level),
        START: float(chosen),
        "held_out": newest["held_out"]["mean"],
        **{f"held_out_{name}": value for name, value in newest["held_out_delta"].items() if name != "mean"},
        "held_out_delta": newest["held_out_delta"]["mean"],
        "kl": None if newest["kl"] is None else newest["kl"]["mean"],
        "judge_drift_evidence": max(evidence, default=None),
    }
