"""Did the judge change, or the policy? Anchors are fixed labelled replies, so only a judge change moves their scores.

An e-process bets on the judge–label gap g of each anchor against m₀, the gap at the anchor's first scoring:
E = Π(1 + λ·(g − m₀ − allowed)), with λ set from earlier values (Waudby-Smith and Ramdas 2024, arXiv 2010.09686;
attribution after arXiv 2606.15474). If no gap moves by more than allowed, the mean of E is at most 1, so E ever
reaches 1/α with probability at most α, however many rounds there are. Rolling tests do not control that error.

There is one process per criterion over all rounds and cycles of a campaign (see `alarms.history`).

The guarantee is relative to the first scores, whose noise is part of every later gap. A noisy judge that never changes
can differ from them by more than `max_anchor_shift` and `max_anchor_noise`, and is then reported as drifted. So
`max_anchor_noise` must be larger than the judge's test–retest difference, which the audit measures.
"""

from collections.abc import Collection, Iterable
from typing import Literal, NamedTuple

import numpy as np
import polars as pl

from rft_pipeline.alarms.findings import Finding, Level
from rft_pipeline.alarms.replies import Replies, change, known
from rft_pipeline.campaign import Alarms
from rft_pipeline.fingerprint import seed_of
from rft_pipeline.stats import Interval, clustered_mean

MovedBy = Literal["none", "policy", "judge"]

ANCHORS = pl.Schema(
    {
        "round": pl.Int64,
        "criterion": pl.String,
        "id": pl.String,
        "prompt_id": pl.String,
        "label": pl.Float64,
        "score": pl.Float64,
        "judge": pl.String,
    }
)
"""Anchors as scored by each round's judge; round 0 holds the first scores of a judge."""

MAX_BET = 0.9
"""Below 1, so that E stays positive even if every bet is lost."""
AWAY = 2
"""Index of moves away from the labels among the four directions."""
PRIOR_VARIANCE = 0.05
"""Variance of a move before any was observed."""


class Drift(NamedTuple):
    """The scores of one criterion's anchors at one round, compared with their first scores."""

    criterion: str
    round: int
    shift: Interval
    """Mean score now minus mean first score."""
    gap: Interval
    """Mean distance of score and label now; NaN without labels, as for a judge of the alarms."""
    good: float
    """Mean score now of the anchors labelled good; NaN without any."""
    bad: float
    evidence: float
    """Mean of E over four directions: up, down, away from the labels, either way. Without labels, over three."""
    worse: float
    """E of moves away from the labels alone; 1 without labels."""
    changed: bool
    """Whether the judge is another than at the first scoring."""
    looks: int = 0
    """Rounds bet on so far, including those of earlier cycles."""


def drift(anchors: pl.DataFrame, settings: Alarms, seed: int) -> list[Drift]:
    """Each criterion at each round it was scored in; no bets are made in the first. `anchors` has the schema `ANCHORS`.

    The betting order of a round's anchors depends on how many rounds came before, not on the round's number, so that
    the same history gives the same E in every later cycle.
    """
    found = []
    for (criterion,), rows in anchors.drop_nulls("score").group_by("criterion", maintain_order=True):
        first = rows.filter(pl.col("round") == rows["round"].min())
        logs = np.zeros(4)
        directions = [each for each in range(4) if each != AWAY or not rows["label"].has_nulls()]
        earlier: list[list[float]] = [[], [], [], []]
        for look, round_ in enumerate(sorted(rows["round"].unique())):
            here = rows.filter(round=round_).join(first.select("id", pl.col("score").alias("at_first")), on="id")
            if not here.height:
                continue
            here = here.with_columns(
                pl.Series("order", [seed_of(seed, "anchor", look, name) for name in here["id"]], pl.UInt64)
            ).sort("order")
            moves = _moves(here, settings)
            for direction in directions if look else []:
                logs[direction] += _bet(moves[direction], earlier[direction], _max_bet(settings))
            prompts, draw = here["prompt_id"].to_numpy(), seed_of(seed, "drift", str(criterion), int(round_))
            score_N, label_N = here["score"].to_numpy(), here["label"].to_numpy()
            found.append(
                Drift(
                    str(criterion),
                    int(round_),
                    clustered_mean(score_N - here["at_first"].to_numpy(), prompts, settings.resamples, draw),
                    clustered_mean(np.abs(score_N - label_N), prompts, settings.resamples, draw),
                    _mean(score_N[label_N == 1]),
                    _mean(score_N[label_N == 0]),
                    float(np.exp(np.minimum(logs[directions], 700)).mean()),
                    float(np.exp(min(logs[AWAY], 700))),
                    set(here["judge"]) != set(first["judge"]),
                    look,
                )
            )
    return found


def judge_drift(found: list[Drift], round_: int, settings: Alarms, trains: Collection[str]) -> dict[str, Finding]:
    """Criterion → its finding: a judge that moved warns; one that `trains` and moved away from the labels stops. The
    error is shared among the criteria."""
    here = [each for each in found if each.round == round_]
    limit = len(here) / settings.drift_error
    return {each.criterion: _finding(each, limit, each.criterion in trains) for each in here}


def moved_by(now: Replies, start: Replies, drifted: Iterable[Finding], settings: Alarms, seed: int) -> MovedBy:
    """What moved the round's reward since the round it started from; `drifted` holds findings on judges that train."""
    if any(each.level for each in drifted):
        return "judge"
    reward = change(now, start, "reward", settings.resamples, seed)
    return "policy" if known(reward) and not reward.lower95 <= 0 <= reward.upper95 else "none"


def _finding(each: Drift, limit: float, trains: bool) -> Finding:
    # `evidence` alone decides whether the judge moved, so that the error is spent once; `worse` only adds the direction
    moved = each.evidence >= limit
    worse = moved and each.worse >= limit
    level = Level.OK if not moved else Level.STOP if worse and trains else Level.WARN
    who = "the judge is another than at the first scoring; on anchors that both scored, " if each.changed else ""
    looks = f" after {each.looks} round{'s' if each.looks > 1 else ''}" if each.looks else ""
    consequence = " It agrees less with the labels." if worse else ""
    if level is Level.STOP:
        consequence += (
            " Until this changes, every later round is stopped: name the current judge as a new model, or train the "
            "rounds again, e.g. with another seed."
        )
    sentence = (
        f"Judge of {each.criterion}: {who}the scores of the same anchors moved by {each.shift.mean:+.3f} on average. "
        f"Evidence of a change{looks}: {each.evidence:.3g}; 1 is none, the alarm is at {limit:.3g}.{consequence}"
    )
    return Finding("judge_drift", level, Interval(each.evidence), limit, sentence)


def _mean(score_N: np.ndarray) -> float:
    return float(score_N.mean()) if score_N.size else float("nan")


def _moves(here: pl.DataFrame, settings: Alarms) -> np.ndarray:
    """4 × N: how far beyond its limit each score moved up, down, away from its label (NaN without), or either way."""
    now_N, then_N = here["score"].to_numpy(), here["at_first"].to_numpy()
    label_N = here["label"].to_numpy()
    away_N = np.abs(now_N - label_N) - np.abs(then_N - label_N)
    moves = np.stack([now_N - then_N, then_N - now_N, away_N, np.abs(now_N - then_N)])
    allowed = np.array([settings.max_anchor_shift] * 3 + [settings.max_anchor_noise])
    return np.asarray(moves - allowed[:, None])


def _max_bet(settings: Alarms) -> float:
    """The smallest possible move is −1 − allowed; the factor 1 + bet · move must stay positive even then."""
    return min(MAX_BET, 0.95 / (1 + settings.max_anchor_shift))


def _bet(move_N: np.ndarray, earlier: list[float], largest: float) -> float:
    """Log of the factor by which E grows; appends the moves to `earlier`."""
    log = 0.0
    for move in move_N:
        mean = float(np.mean(earlier)) if earlier else 0.0
        variance = (PRIOR_VARIANCE + float(np.sum((np.array(earlier) - mean) ** 2))) / (len(earlier) + 1)
        bet = min(largest, max(0.0, mean / (variance + mean * mean)))
        log += float(np.log1p(bet * move))
        earlier.append(float(move))
    return log
