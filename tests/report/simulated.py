"""An eval report with alarms of a synthetic campaign, made by the functions that make a real one."""

import json
from typing import Any

import numpy as np
import polars as pl

from rft_pipeline.alarms.assess import assess
from rft_pipeline.alarms.drift import ANCHORS, drift, judge_drift, moved_by
from rft_pipeline.alarms.phrases import phrases
from rft_pipeline.alarms.watch import next_start, replies_of, round_entry, scores_by_round
from rft_pipeline.evaluation.compare import RoundRows, compare_rounds
from rft_pipeline.stats import Interval
from tests.alarms.simulator import HOW, Bias, Policy, anchors, evaluated, train


def simulated(bias: Bias, rounds: int = 3, seed: int = 0) -> tuple[dict[str, Any], dict[int, pl.DataFrame]]:
    """The report and each round's rows; round 3's judge is another than that of rounds 1 and 2."""
    rng = np.random.default_rng(seed)
    policy, told = Policy(), []
    for number in range(rounds + 1):
        policy = train(policy, bias, rng) if number else policy
        told.append(RoundRows(number, f"policy-{number}", _rows(number, policy, bias, rng)))
    report = compare_rounds(told, ["polite"], resamples=200, seed=seed)
    replies = [
        replies_of(each, Interval(2.0 * each.round, 1.5 * each.round, 2.5 * each.round) if each.round else None)
        for each in told
    ]
    scored = pl.concat([anchors(rounds, 3, seed), pl.DataFrame(schema=ANCHORS)])
    drifts = drift(scored, HOW, seed)
    verdicts: list[dict[str, Any]] = []
    for now, start in zip(replies[1:], replies, strict=False):
        found, drifted = phrases(now, replies[0], HOW.phrases), judge_drift(drifts, now.round, HOW, ["kind"])
        before = verdicts[-1]["causes"] if verdicts else ()
        verdict = assess(now, replies[0], start, before, HOW, seed, found, (), list(drifted.values()))
        moved = moved_by(now, start, drifted.values(), HOW, seed)
        verdicts.append(round_entry(now.round, start.round, verdict, moved, found, drifts, ()))
    scores = scores_by_round(replies, HOW, seed)
    report["alarms"] = {
        "held_out": ["kind"],
        "base": "base",
        "first": "base",
        "scores": scores,
        "verdicts": verdicts,
        "start_round": next_start(verdicts, scores),
    }
    return report, {each.round: each.rows for each in told}


def _rows(number: int, policy: Policy, bias: Bias, rng: np.random.Generator) -> pl.DataFrame:
    rows = evaluated(policy, number, bias, rng).rows
    question = json.dumps([{"role": "user", "content": "Where is my parcel?"}])
    return rows.with_columns(
        pl.lit(question).alias("messages"),
        pl.lit("stop").alias("finish_reason"),
        pl.col("completion").str.split(" ").list.eval(pl.element().str.len_chars().cast(pl.Int64)).alias("tokens"),
        pl.lit(0).alias("thought_tokens"),
        pl.struct(polite="reward").alias("scores"),
        pl.lit(False).alias("gated"),
    ).drop("length", "system", "turns")
