"""Did the judge change, or the policy? Anchors are fixed replies with labels: only the judge can move their scores.

An e-process bets on the judge–label gap g of each anchor against m₀, the gap that the same anchor had when it was first
scored: E = Π(1 + λ·(g − m₀ − allowed)), with λ set from what came before (Waudby-Smith and Ramdas 2024, arXiv
2010.09686; attribution after arXiv 2606.15474). While no gap moves by more than is allowed, E is at most 1 on average,
so that it reaches 1/α at any time with a chance of at most α, however long one looks. Rolling tests cannot say that.

It is one process over all rounds and cycles of a campaign (see `stages.drift_history`).

The promise holds for a judge whose scores move by no more than is allowed from those it gave at first. The noise of
that first scoring stays in every later gap: a noisy judge that never changed may lie further from it than
`max_anchor_shift` and `max_anchor_noise` allow, and is then called drifted however little it moves afterwards. So
`max_anchor_noise` must allow more than the judge differs by when it is asked the same twice, as the audit asks it.
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
"""Anchors as scored with each round's judge, and as round 0 what it said when it was asked first; `judge` is who it
was."""

LARGEST = 0.9
"""The largest bet, which leaves something even when all goes against it."""
AWAY = 2
"""The place of moves away from the labels among the ways a judge may move."""
UNSURE = 0.05
"""The variance of a move before any was seen."""


class Drift(NamedTuple):
    """What one criterion's anchors say at one round."""

    criterion: str
    round: int
    shift: Interval
    """Mean score now minus when first scored."""
    gap: Interval
    """Mean distance of score and label now; NaN without labels, which a held-out judge has none of."""
    good: float
    """Mean score now of those labelled good; NaN when there are none."""
    bad: float
    evidence: float
    """E of any move, up, down, away from the labels or either way: their mean. Without labels, of the other three."""
    worse: float
    """E of moves away from the labels alone; 1 without labels."""
    changed: bool
    """Whether another judge answers than at first."""
    looks: int = 0
    """Rounds bet on so far, those of earlier cycles included."""


def drift(anchors: pl.DataFrame, how: Alarms, seed: int) -> list[Drift]:
    """Each criterion at each round that it was scored in; nothing is bet at the first. `anchors`: see `ANCHORS`.

    The order in which a round's anchors are bet on depends on how many rounds came before, not on the round's number:
    E of the same history is the same number in every later cycle.
    """
    found = []
    for (criterion,), rows in anchors.drop_nulls("score").group_by("criterion", maintain_order=True):
        first = rows.filter(pl.col("round") == rows["round"].min())
        logs = np.zeros(4)
        ways = [way for way in range(4) if way != AWAY or not rows["label"].has_nulls()]
        seen: list[list[float]] = [[], [], [], []]
        for look, round_ in enumerate(sorted(rows["round"].unique())):
            here = rows.filter(round=round_).join(first.select("id", pl.col("score").alias("at_first")), on="id")
            if not here.height:
                continue
            here = here.with_columns(
                pl.Series("order", [seed_of(seed, "anchor", look, name) for name in here["id"]], pl.UInt64)
            ).sort("order")
            moves = _moves(here, how)
            for way in ways if look else []:
                logs[way] += _bet(moves[way], seen[way], _largest(how))
            prompts, named = here["prompt_id"].to_numpy(), seed_of(seed, "drift", str(criterion), int(round_))
            score_N, label_N = here["score"].to_numpy(), here["label"].to_numpy()
            found.append(
                Drift(
                    str(criterion),
                    int(round_),
                    clustered_mean(score_N - here["at_first"].to_numpy(), prompts, how.resamples, named),
                    clustered_mean(np.abs(score_N - label_N), prompts, how.resamples, named),
                    _mean(score_N[label_N == 1]),
                    _mean(score_N[label_N == 0]),
                    float(np.exp(np.minimum(logs[ways], 700)).mean()),
                    float(np.exp(min(logs[AWAY], 700))),
                    set(here["judge"]) != set(first["judge"]),
                    look,
                )
            )
    return found


def judge_drift(found: list[Drift], round_: int, how: Alarms, trains: Collection[str]) -> dict[str, Finding]:
    """Criterion → what its judge did: one that moved warns, one that `trains` and moved away from the labels stops. The
    error is shared among the criteria."""
    here = [each for each in found if each.round == round_]
    limit = len(here) / how.drift_error
    return {each.criterion: _finding(each, limit, each.criterion in trains) for each in here}


def moved_by(now: Replies, start: Replies, drifted: Iterable[Finding], how: Alarms, seed: int) -> MovedBy:
    """Who moved the round's reward against the round that it started from; `drifted` is told of the judges that
    train."""
    if any(each.level for each in drifted):
        return "judge"
    reward = change(now, start, "reward", how.resamples, seed)
    return "policy" if known(reward) and not reward.lower95 <= 0 <= reward.upper95 else "none"


def _finding(each: Drift, limit: float, trains: bool) -> Finding:
    # one bet decides whether it moved at all, so that the error is spent once; the other, whether away from the labels
    moved = each.evidence >= limit
    worse = moved and each.worse >= limit
    level = Level.OK if not moved else Level.STOP if worse and trains else Level.WARN
    who = "another judge answers than at first; on the anchors both answered, " if each.changed else ""
    looks = f" after {each.looks} round{'s' if each.looks > 1 else ''}" if each.looks else ""
    how_sure = f"evidence {each.evidence:.3g}{looks}, {limit:.3g} is an alarm"
    less = " It agrees less with the labels." if worse else ""
    if level is Level.STOP:
        less += (
            " While it stays so, every later round is stopped: name the judge that answers now as another model, or "
            "train the rounds anew, e.g. with another seed."
        )
    sentence = (
        f"Judge of {each.criterion}: {who}scores of the same anchors moved by {each.shift.mean:+.3f} on average "
        f"({how_sure}).{less}"
    )
    return Finding("judge_drift", level, Interval(each.evidence), limit, sentence)


def _mean(score_N: np.ndarray) -> float:
    return float(score_N.mean()) if score_N.size else float("nan")


def _moves(here: pl.DataFrame, how: Alarms) -> np.ndarray:
    """4 × N: by how much more than allowed each score went up, down, away from its label (NaN without), and either
    way."""
    now_N, then_N = here["score"].to_numpy(), here["at_first"].to_numpy()
    label_N = here["label"].to_numpy()
    away_N = np.abs(now_N - label_N) - np.abs(then_N - label_N)
    moves = np.stack([now_N - then_N, then_N - now_N, away_N, np.abs(now_N - then_N)])
    allowed = np.array([how.max_anchor_shift] * 3 + [how.max_anchor_noise])
    return np.asarray(moves - allowed[:, None])


def _largest(how: Alarms) -> float:
    """At worst a move is −1 less what is allowed: the factor must stay above 0 even then."""
    return min(LARGEST, 0.95 / (1 + how.max_anchor_shift))


def _bet(move_N: np.ndarray, seen: list[float], largest: float) -> float:
    """Log of the factor by which E grows; `seen` holds earlier moves and is added to."""
    log = 0.0
    for move in move_N:
        mean = float(np.mean(seen)) if seen else 0.0
        variance = (UNSURE + float(np.sum((np.array(seen) - mean) ** 2))) / (len(seen) + 1)
        bet = min(largest, max(0.0, mean / (variance + mean * mean)))
        log += float(np.log1p(bet * move))
        seen.append(float(move))
    return log
