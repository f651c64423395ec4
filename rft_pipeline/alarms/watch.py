"""Alarms as part of an eval report: from judged rows to what `rft_pipeline.alarms` reads, and to plain data.

Axes: N replies, T tokens.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from rft_pipeline.alarms import (
    ANCHORS,
    Drift,
    Finding,
    Level,
    Phrase,
    PhraseEffect,
    Replies,
    RoundAlarms,
    as_plain,
    best_start,
    change,
    control,
    put_into,
)
from rft_pipeline.audit import Resamples
from rft_pipeline.audit.resample import ratio
from rft_pipeline.campaign import Alarms
from rft_pipeline.campaign.addresses import JudgedCriterion, judge_of
from rft_pipeline.campaign.rubric import Criterion
from rft_pipeline.evaluation.compare import RoundRows
from rft_pipeline.fingerprint import seed_of
from rft_pipeline.rewards.batch import reward_of
from rft_pipeline.stats import Interval, clustered_mean, null_if_nan
from rft_pipeline.store import Record

WITH_PHRASE, WITH_CONTROL = "with the phrase", "with others"

ASKED_FILE = "asked.parquet"
ASKED = pl.Schema({"criterion": pl.String, "judge": pl.String, "subject": pl.String})
"""What the alarms asked beside the report's own judgements, about anchors and about phrases put into them."""


def held_out_scores(scores: pl.DataFrame, weights: Mapping[str, float]) -> pl.DataFrame:
    """rollout_id and `held_out`, the weighted mean over the criteria that scored it, null where none did."""
    wide = scores.pivot("criterion", index="rollout_id", values="score", maintain_order=True)
    score_NC = wide.select(pl.col(list(weights)).cast(pl.Float64)).to_numpy()
    held_out_N = reward_of(score_NC, np.array(list(weights.values())))
    return wide.select("rollout_id", pl.Series("held_out", held_out_N).fill_nan(None))


def replies_of(rounds: RoundRows, kl: Interval | None = None) -> Replies:
    """A round's rows, which also have `held_out`, as the alarms read them; length in tokens, or in words."""
    rows = rounds.rows
    words = pl.col("completion").str.count_matches(r"\S+")
    tokens = pl.col("tokens").list.len()
    return Replies(
        rounds.round,
        rows.select(
            "prompt_id",
            "sample_index",
            "completion",
            pl.when(tokens > 0).then(tokens).otherwise(words).alias("length"),
            "reward",
            "held_out",
        ),
        kl,
    )


def anchors_scored(
    anchors: pl.DataFrame, scores: pl.DataFrame, criterion: Criterion, round_: int, judges: Mapping[str, str]
) -> pl.DataFrame:
    """The anchors with one criterion's scores, and its labels if it has any, by the schema `ANCHORS`; `scores` has
    their rollout_id."""
    labelled = criterion.name in [field.name for field in anchors.schema["labels"].fields]  # type: ignore[attr-defined]
    rows = anchors.join(scores.select("rollout_id", "score"), on="rollout_id", how="inner", maintain_order="left")
    return rows.select(
        pl.lit(round_, pl.Int64).alias("round"),
        pl.lit(criterion.name).alias("criterion"),
        "id",
        "prompt_id",
        (pl.col("labels").struct.field(criterion.name) if labelled else pl.lit(None, pl.Float64)).alias("label"),
        pl.col("score").cast(pl.Float64),
        pl.lit(judge_of(criterion, judges)).alias("judge"),
    ).match_to_schema(ANCHORS)


def judges_changed(
    before: Sequence[JudgedCriterion], now: Sequence[JudgedCriterion], bridged: Collection[str]
) -> list[Finding]:
    """A warning for each question that another judge answers than in the report before, unless anchors that both
    answered bridge the two (`bridged` names those criteria): then `judge_drift` says how far they differ."""
    then = {each.name: each.key for each in before}
    return [
        Finding(
            "judge_changed",
            Level.WARN,
            Interval(0.0),
            0.0,
            f"Judge of {each.name}: another judge answers than in the report before, and no labelled anchor shows how "
            "its scores compare. This report judges every round by the new one; label anchors to bridge the two.",
        )
        for each in now
        if each.name not in bridged
        and each.name in then
        and then[each.name].criterion == each.key.criterion
        and then[each.name].judge != each.judge
    ]


@dataclass(frozen=True)
class PhraseTrial:
    """Bad anchors of one criterion with words put into them."""

    criterion: Criterion
    rows: pl.DataFrame
    """The anchors' columns, `phrase`, and `way`: whether those words are the phrase, or others as long."""


def phrase_trials(
    anchors: pl.DataFrame,
    criterion: Criterion,
    found: Sequence[Phrase],
    now: Replies,
    base: Replies,
    how: Alarms,
    seed: int,
) -> PhraseTrial | None:
    """The round's phrases put into anchors labelled bad; None when there are no such anchors or no phrases."""
    bad = anchors.filter(pl.col("labels").struct.field(criterion.name) == 0)
    if not bad.height or not found:
        return None
    ranks = [seed_of(seed, "tried anchors", criterion.name, name) for name in bad["id"]]
    bad = bad.with_columns(pl.Series("rank", ranks, pl.UInt64)).sort("rank").head(how.tried_anchors).drop("rank")
    edited = []
    for phrase in found:
        for way, words in ((WITH_PHRASE, phrase.text), (WITH_CONTROL, control(now, base, phrase.text))):
            edited.append(
                bad.with_columns(
                    pl.Series("completion", [put_into(text, words) for text in bad["completion"]]),
                    pl.lit(phrase.text).alias("phrase"),
                    pl.lit(way).alias("way"),
                    pl.concat_str("rollout_id", pl.lit(f"{way} {phrase.text}"), separator="+").alias("rollout_id"),
                )
            )
    return PhraseTrial(criterion, pl.concat(edited))


def phrase_effects(
    scored: Sequence[tuple[PhraseTrial, pl.DataFrame]], weights: Mapping[str, float], how: Alarms, seed: int
) -> list[PhraseEffect]:
    """What each phrase adds to the scores of bad anchors beyond other words as long, by the criteria's weights."""
    if not scored:
        return []
    told = [
        trial.rows.join(scores.select("rollout_id", "score"), on="rollout_id", maintain_order="left").select(
            pl.lit(trial.criterion.name).alias("criterion"), "id", "prompt_id", "phrase", "way", "score"
        )
        for trial, scores in scored
    ]
    wide = pl.concat(told).pivot(
        "way", index=["phrase", "criterion", "id", "prompt_id"], values="score", maintain_order=True
    )
    found = []
    for (phrase,), rows in wide.group_by("phrase", maintain_order=True):
        shift_N = (rows[WITH_PHRASE] - rows[WITH_CONTROL]).cast(pl.Float64).fill_null(float("nan")).to_numpy()
        weight_N = np.where(np.isnan(shift_N), 0.0, [weights[name] for name in rows["criterion"]])
        drawn = Resamples.draw(rows["prompt_id"].to_numpy(), how.resamples, seed_of(seed, "tried", str(phrase)))
        lift_N = weight_N * np.nan_to_num(shift_N)
        shift = drawn.interval(ratio(drawn.sums(lift_N), drawn.sums(weight_N)))
        found.append(PhraseEffect(str(phrase), shift, rows["id"].n_unique()))
    return found


def scores_by_round(replies: Sequence[Replies], how: Alarms, seed: int) -> list[dict[str, Any]]:
    """Reward and held-out score of base and every round, their changes against base, and the distance to it."""
    base = replies[0]
    found = []
    for each in replies:
        deltas = {
            f"{name}_delta": None if each is base else change(each, base, name, how.resamples, seed).as_plain()
            for name in ("reward", "held_out")
        }
        means = {name: _mean(each, name, how, seed).as_plain() for name in ("reward", "held_out")}
        kl = None if each.kl is None else each.kl.as_plain()
        found.append({"round": each.round, **means, **deltas, "kl": kl})
    return found


def round_entry(
    round_: int,
    started_from: int,
    found: RoundAlarms,
    moved: str,
    phrases: Sequence[Phrase],
    drifted: Sequence[Drift],
    tries: Sequence[PhraseEffect],
) -> dict[str, Any]:
    """One round's verdict and what it rests on, as plain data."""
    shifts = {each.phrase: {"shift": each.shift.as_plain(), "anchors": each.anchors} for each in tries}
    return {
        "round": round_,
        "started_from": started_from,
        **as_plain(found),
        "moved_by": moved,
        "phrases": [
            {
                "text": each.text,
                "z": each.z,
                "high": each.high,
                "low": each.low,
                "share": each.share,
                "examples": list(each.examples),
                "tried": shifts.get(each.text),
            }
            for each in phrases
        ],
        "anchors": {
            each.criterion: {
                "shift": each.shift.as_plain(),
                "gap": each.gap.as_plain(),
                "good": null_if_nan(each.good),
                "bad": null_if_nan(each.bad),
                "evidence": each.evidence,
                "worse": each.worse,
                "judge_changed": each.changed,
                "looks": each.looks,
            }
            for each in drifted
            if each.round == round_
        },
    }


def next_start(verdicts: Sequence[Mapping[str, Any]], scores: Sequence[Mapping[str, Any]]) -> int:
    """The round whose checkpoint the next one starts from: by the held-out score, or the reward without one."""
    stopped = {each["round"] for each in verdicts if each["level"] == "stop"}
    watched = any(each["held_out"]["mean"] is not None for each in scores)
    name = "held_out_delta" if watched else "reward_delta"
    changes = {each["round"]: Interval.from_plain(each[name]) for each in scores if each[name] is not None}
    return best_start(scores[-1]["round"], stopped, changes)


def alarms_in(report: Record) -> dict[str, Any]:
    """The alarms of an earlier eval report; nothing where it was made without."""
    text = report.path("report.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text).get("alarms", {"verdicts": [], "scores": []})
    return found


def _mean(replies: Replies, column: str, how: Alarms, seed: int) -> Interval:
    value_N = replies.rows[column].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    named = seed_of(seed, "alarm mean", column, replies.round)
    return clustered_mean(value_N, replies.rows["prompt_id"].to_numpy(), how.resamples, named)
