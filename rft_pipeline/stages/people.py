"""What an audit shows with its verdicts: the pairs that people decided, and the feedback of users in logs.

Neither changes a verdict. Pairs of held-out replies must not steer the training, and feedback shows what users like,
not whether a reply is good.
"""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from rft_pipeline.audit.feedback import ranked
from rft_pipeline.audit.pairwise import pairwise_agreement
from rft_pipeline.campaign import Campaign
from rft_pipeline.campaign.addresses import REPLY
from rft_pipeline.fingerprint import fingerprint, seed_of
from rft_pipeline.labels.decided import DECIDED, decided_pairs
from rft_pipeline.labels.estimates import REWARD, rewards_of
from rft_pipeline.labels.feedback import FEEDBACK, Stored, stored_feedback
from rft_pipeline.labels.population import with_scores
from rft_pipeline.stages.base import Sources
from rft_pipeline.stages.job import Job
from rft_pipeline.stats import Resamples, plain

REWARDED = "rewarded"
"""Input: how scores become the reward that is compared with people."""
SAID = frozenset({DECIDED, FEEDBACK, REWARDED})
PAIRS, LOGGED = "pairs", "logged"
"""Values of the column `kind`: which of the two a judged reply is from."""


def said_inputs(campaign: Campaign, sources: Sources) -> dict[str, str]:
    """The inputs of an audit that hold what people said; none while nobody said anything."""
    found = {name: sources[name] for name in (DECIDED, FEEDBACK) if name in sources}
    rewarded = {REWARDED: fingerprint([campaign.rubric.weights(), campaign.rubric.gates()])}
    return {**found, **rewarded} if found else {}


def said_replies(campaign: Campaign, store: Path) -> dict[str, pl.DataFrame]:
    """The replies that the judges score, by kind; only kinds that have any."""
    return _replies(decided_pairs(campaign.name, store), stored_feedback(campaign.name, store))


def _replies(pairs: pl.DataFrame, logged: Stored | None) -> dict[str, pl.DataFrame]:
    of_pairs = replies_of(pairs)
    found = {PAIRS: of_pairs, LOGGED: of_pairs.clear() if logged is None else logged.rows}
    return {kind: rows for kind, rows in found.items() if rows.height}


def replies_of(pairs: pl.DataFrame) -> pl.DataFrame:
    """The replies of decided pairs: rollout_id, prompt_id and what a judge may see; each once."""
    shared = ("prompt_id", "messages", "fields")
    sides = [
        pairs.select(
            pl.col(side).alias("rollout_id"),
            *shared,
            pl.col(f"{side}_reply").alias("completion"),
            pl.col(f"{side}_finish_reason").alias("finish_reason"),
        )
        for side in ("better", "worse")
    ]
    return pl.concat(sides).unique("rollout_id").sort("rollout_id")


def compare_with_people(job: Job) -> tuple[dict[str, Any], pl.DataFrame, int]:
    """The agreement of judges and reward with what people said, as JSON holds it; the judged replies (`kind`,
    rollout_id, prompt_id, what judges see, `scores` and `reward`); and how many judgements were made."""
    found: dict[str, Any] = {PAIRS: None, "feedback": None}
    tables, made = [], 0
    rubric = job.campaign.rubric
    pairs, logged = decided_pairs(job.campaign.name, job.home.store), stored_feedback(job.campaign.name, job.home.store)
    for kind, rows in _replies(pairs, logged).items():
        scores, counts = job.judge(rows)
        made += sum(counts.values())
        scored = with_scores(rows, scores, rubric.names)
        score_NC = scored["scores"].struct.unnest().select(pl.col(rubric.names).cast(pl.Float64)).to_numpy()
        reward = pl.Series(REWARD, rewards_of(rubric, score_NC)).fill_nan(None)
        tables.append(
            scored.select(pl.lit(kind).alias("kind"), "rollout_id", "prompt_id", *REPLY, "scores").with_columns(reward)
        )
        if kind == PAIRS:
            found[PAIRS] = _pairs(job, pairs, tables[-1])
        elif logged is not None:
            found["feedback"] = _feedback(job, logged, tables[-1])
    return found, pl.concat(tables) if tables else pl.DataFrame(schema={"kind": pl.String}), made


def _pairs(job: Job, pairs: pl.DataFrame, replies: pl.DataFrame) -> dict[str, Any]:
    """The agreement of each judge and of the reward with the decided pairs."""
    resamples = _resamples(job, pairs, PAIRS)
    better, worse = (
        pairs.select(pl.col(side).alias("rollout_id")).join(replies, on="rollout_id", how="left", maintain_order="left")
        for side in ("better", "worse")
    )
    measured = {
        name: pairwise_agreement(_values(better, name), _values(worse, name), resamples) for name in _measured(job)
    }
    warning = None
    if measured[REWARD].against_people:
        share, upper = measured[REWARD].share.mean, measured[REWARD].share.upper95
        warning = (
            f"the reward prefers the other reply to the one that people prefer: it agrees with them on {share:.0%} of "
            f"the decided pairs (at most {upper:.0%}); read the pairs, and change the rubric before you train again"
        )
    return {
        "decided": pairs.height,
        "prompts": pairs["prompt_id"].n_unique(),
        "agreement": {name: plain(each) for name, each in measured.items()},
        "warning": warning,
    }


def _feedback(job: Job, logged: Stored, replies: pl.DataFrame) -> dict[str, Any]:
    """The agreement of each judge and of the reward with users' feedback; of the reward also by week."""
    rows = logged.rows.select("rollout_id", "value", "week").join(replies, on="rollout_id", maintain_order="left")
    resamples = _resamples(job, rows, LOGGED)
    prompt_N, value_N = rows["prompt_id"].to_numpy(), rows["value"].to_numpy()

    def among(which_N: np.ndarray, name: str) -> dict[str, Any]:
        scores = _values(rows, name)[which_N]
        found: dict[str, Any] = plain(ranked(prompt_N[which_N], value_N[which_N], scores, resamples.take(which_N)))
        return found

    weeks = sorted(rows["week"].drop_nulls().unique())
    by_week = {week: (rows["week"] == week).fill_null(False).to_numpy() for week in weeks}
    return {
        **logged.counts,
        "judged": rows.height,
        "agreement": {name: among(np.ones(rows.height, dtype=bool), name) for name in _measured(job)},
        "weeks": [
            {
                "week": week,
                "replies": int(which_N.sum()),
                "feedback": float(value_N[which_N].mean()),
                "mean_reward": rows.filter(pl.Series(which_N))[REWARD].mean(),
                **among(which_N, REWARD),
            }
            for week, which_N in by_week.items()
        ],
    }


def _measured(job: Job) -> list[str]:
    return [*(each.name for each in job.campaign.rubric.judged), REWARD]


def _values(rows: pl.DataFrame, name: str) -> np.ndarray:
    column = rows[REWARD] if name == REWARD else rows["scores"].struct.field(name)
    return column.cast(pl.Float64).to_numpy()


def _resamples(job: Job, rows: pl.DataFrame, kind: str) -> Resamples:
    assert job.campaign.audit is not None
    seed = seed_of(job.campaign.seed, "audit", kind)
    return Resamples.draw(rows["prompt_id"].to_numpy(), job.campaign.audit.resamples, seed)
