"""Alarms in an eval report: from judged rows to what `rft_pipeline.alarms` reads, and to plain data.

Axes: N replies, C criteria of the alarms.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from rft_pipeline.alarms.drift import ANCHORS, Drift
from rft_pipeline.alarms.findings import Finding, Level, RoundAlarms, as_plain
from rft_pipeline.alarms.phrases import Phrase, PhraseEffect, control, put_into
from rft_pipeline.alarms.replies import Replies, change
from rft_pipeline.campaign import Alarms
from rft_pipeline.campaign.addresses import JudgedCriterion, judge_of, systems, turns_of
from rft_pipeline.campaign.rubric import Criterion
from rft_pipeline.evaluation.compare import RoundRows
from rft_pipeline.fingerprint import seed_of
from rft_pipeline.rewards.batch import reward_of
from rft_pipeline.stats import Interval, Resamples, clustered_mean, plain, ratio
from rft_pipeline.store import Record
from rft_pipeline.store.rows import ANSWER_TOKENS

WITH_PHRASE, WITH_CONTROL = "with the phrase", "with other words"
TRIED_ANCHORS = 16
"""Bad anchors per criterion on which each phrase is tested."""

ASKED_FILE = "asked.parquet"
ASKED = pl.Schema({"criterion": pl.String, "judge": pl.String, "subject": pl.String})
"""Which judgements the alarms used in addition to the report's own: of anchors, and of anchors with phrases."""


def held_out_scores(scores: pl.DataFrame, weights: Mapping[str, float]) -> pl.DataFrame:
    """rollout_id and `held_out`: the weighted mean over the criteria that scored it, null if none did."""
    wide = scores.pivot("criterion", index="rollout_id", values="score", maintain_order=True)
    score_NC = wide.select(pl.col(list(weights)).cast(pl.Float64)).to_numpy()
    held_out_N = reward_of(score_NC, np.array(list(weights.values())))
    return wide.select("rollout_id", pl.Series("held_out", held_out_N).fill_nan(None))


def replies_of(rounds: RoundRows, kl: Interval | None = None, system: str | None = None) -> Replies:
    """A round's rows, with the column `held_out`, as the alarms read them; length in tokens, or in words without.

    `system` is the campaign's system prompt, or None if it has slots: it is then among each prompt's messages.
    """
    rows = rounds.rows
    words = pl.col("completion").str.count_matches(r"\S+")
    return Replies(
        rounds.round,
        rows.select(
            "prompt_id",
            "sample_index",
            "completion",
            pl.when(pl.col("tokens").list.len() > 0).then(ANSWER_TOKENS).otherwise(words).alias("length"),
            "reward",
            "held_out",
            pl.Series(
                "system",
                ["\n\n".join(filter(None, (system, *systems(each)))) for each in rows["messages"]],
                pl.String,
            ),
            pl.Series("turns", [turns_of(each) for each in rows["messages"]], pl.List(pl.String)),
        ),
        kl,
        rounds.called,
    )


def anchors_scored(
    anchors: pl.DataFrame, scores: pl.DataFrame, criterion: Criterion, round_: int, judges: Mapping[str, str]
) -> pl.DataFrame:
    """The anchors with one criterion's scores and labels (null without labels), by the schema `ANCHORS`."""
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
    """A warning for each question whose judge changed since the previous report. Criteria in `bridged` have anchors
    that both judges scored: there `judge_drift` measures the difference."""
    then = {each.name: each for each in before}
    return [
        Finding(
            "judge_changed",
            Level.WARN,
            Interval(0.0),
            0.0,
            f"Judge of {each.name}: the judge changed since the previous report, and no labelled anchor shows how the "
            "scores compare. This report uses the new judge for every round; label anchors to compare the two.",
        )
        for each in now
        if each.name not in bridged
        and each.name in then
        and then[each.name].fingerprint == each.fingerprint
        and then[each.name].judge != each.judge
    ]


@dataclass(frozen=True)
class PhraseTrial:
    """Bad anchors of one criterion with words inserted."""

    criterion: Criterion
    rows: pl.DataFrame
    """The anchors' columns, `phrase`, and `variant`: whether the words are the phrase or as many others."""


def phrase_trials(
    anchors: pl.DataFrame,
    criterion: Criterion,
    found: Sequence[Phrase],
    now: Replies,
    base: Replies,
    seed: int,
) -> PhraseTrial | None:
    """The round's phrases inserted into anchors labelled bad; None without such anchors or without phrases."""
    bad = anchors.filter(pl.col("labels").struct.field(criterion.name) == 0)
    if not bad.height or not found:
        return None
    ranks = [seed_of(seed, "tried anchors", criterion.name, name) for name in bad["id"]]
    bad = bad.with_columns(pl.Series("rank", ranks, pl.UInt64)).sort("rank").head(TRIED_ANCHORS).drop("rank")
    edited = []
    for phrase in found:
        for variant, words in ((WITH_PHRASE, phrase.text), (WITH_CONTROL, control(now, base, phrase.text))):
            edited.append(
                bad.with_columns(
                    pl.Series("completion", [put_into(text, words) for text in bad["completion"]]),
                    pl.lit(phrase.text).alias("phrase"),
                    pl.lit(variant).alias("variant"),
                    pl.concat_str("rollout_id", pl.lit(f"{variant} {phrase.text}"), separator="+").alias("rollout_id"),
                )
            )
    return PhraseTrial(criterion, pl.concat(edited))


def phrase_effects(
    scored: Sequence[tuple[PhraseTrial, pl.DataFrame]], weights: Mapping[str, float], settings: Alarms, seed: int
) -> list[PhraseEffect]:
    """What each phrase adds to the scores of bad anchors beyond as many other words, weighted by criterion."""
    if not scored:
        return []
    rows_by_trial = [
        trial.rows.join(scores.select("rollout_id", "score"), on="rollout_id", maintain_order="left").select(
            pl.lit(trial.criterion.name).alias("criterion"), "id", "prompt_id", "phrase", "variant", "score"
        )
        for trial, scores in scored
    ]
    wide = pl.concat(rows_by_trial).pivot(
        "variant", index=["phrase", "criterion", "id", "prompt_id"], values="score", maintain_order=True
    )
    found = []
    for (phrase,), rows in wide.group_by("phrase", maintain_order=True):
        shift_N = (rows[WITH_PHRASE] - rows[WITH_CONTROL]).cast(pl.Float64).to_numpy()
        weight_N = np.where(np.isnan(shift_N), 0.0, [weights[name] for name in rows["criterion"]])
        drawn = Resamples.draw(rows["prompt_id"].to_numpy(), settings.resamples, seed_of(seed, "tried", str(phrase)))
        lift_N = weight_N * np.nan_to_num(shift_N)
        shift = drawn.interval(ratio(drawn.sums(lift_N), drawn.sums(weight_N)))
        found.append(PhraseEffect(str(phrase), shift, rows["id"].n_unique()))
    return found


def scores_by_round(replies: Sequence[Replies], settings: Alarms, seed: int) -> list[dict[str, Any]]:
    """Reward and score of the alarms' judge of base and every round, their changes since base, and the KL to base."""
    base = replies[0]
    found = []
    for each in replies:
        deltas = {
            f"{name}_delta": None if each is base else plain(change(each, base, name, settings.resamples, seed))
            for name in ("reward", "held_out")
        }
        means = {name: plain(_mean(each, name, settings, seed)) for name in ("reward", "held_out")}
        found.append({"round": each.round, **means, **deltas, "kl": plain(each.kl)})
    return found


def round_entry(
    round_: int,
    started_from: int,
    found: RoundAlarms,
    moved: str,
    phrases: Sequence[Phrase],
    drifted: Sequence[Drift],
    effects: Sequence[PhraseEffect],
) -> dict[str, Any]:
    """One round's alarms and the numbers behind them, as plain data."""
    effect_by_phrase = {each.phrase: {"shift": plain(each.shift), "anchors": each.anchors} for each in effects}
    return {
        "round": round_,
        "started_from": started_from,
        **as_plain(found),
        "moved_by": moved,
        "phrases": [
            {**each._asdict(), "examples": list(each.examples), "on_bad_anchors": effect_by_phrase.get(each.text)}
            for each in phrases
        ],
        "anchors": {each.criterion: plain(each) for each in drifted if each.round == round_},
    }


def next_start(verdicts: Sequence[Mapping[str, Any]], scores: Sequence[Mapping[str, Any]]) -> int:
    """The round whose checkpoint the next one starts from: the newest unless it was stopped.

    Otherwise it is the round with the best lower bound of the change since base, among those that were not stopped and
    are not significantly worse than base; 0 (base) if there is none. The change is that of the score of the alarms'
    judge, or of the reward without one.
    """
    stopped = {each["round"] for each in verdicts if each["level"] == "stop"}
    newest = int(scores[-1]["round"])
    if newest not in stopped:
        return newest
    watched = any(each["held_out"]["mean"] is not None for each in scores)
    name = "held_out_delta" if watched else "reward_delta"
    known = [each for each in scores if each[name] is not None and each[name]["lower95"] is not None]
    candidates = [
        (each[name]["lower95"], int(each["round"]))
        for each in known
        if each["round"] not in stopped and each[name]["upper95"] >= 0
    ]
    return max(candidates)[1] if candidates else 0


def alarms_in(report: Record) -> dict[str, Any]:
    """The alarms of an earlier eval report; empty if it has none."""
    text = report.path("report.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text).get("alarms", {"verdicts": [], "scores": []})
    return found


def _mean(replies: Replies, column: str, settings: Alarms, seed: int) -> Interval:
    value_N = replies.rows[column].cast(pl.Float64).to_numpy()
    named = seed_of(seed, "alarm mean", column, replies.round)
    return clustered_mean(value_N, replies.rows["prompt_id"].to_numpy(), settings.resamples, named)
