"""Compares two judgings A and B of the same rollouts: shifts of criteria and reward, and the largest moves.

Axes: N rollouts in both, C criteria.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from rft_pipeline.campaign.addresses import readable_prompt

MOVED = 10
"""Most rollouts shown whose reward moved."""

_NOISE = 1e-9
"""Smaller changes are rounding errors."""


@dataclass(frozen=True)
class ScoredRollouts:
    """Rollouts with their scores and rewards, by one rubric."""

    rows: pl.DataFrame
    """rollout_id, prompt_id, messages (JSON), completion, scores (by criterion), gated, reward."""
    weights: dict[str, float]
    """By criterion, summing to 1."""
    gates: dict[str, float]


@dataclass(frozen=True)
class Shift:
    """The difference of one criterion, or of the reward, between A and B over the rollouts scored in both.

    For a criterion that one side lacks, that side's numbers are null and the other mean is over all its scores.
    """

    scored: int
    """Rollouts with a score in both."""
    rank_correlation: float | None
    """Spearman's, with average ranks for ties; null for fewer than two rollouts or if one side is constant."""
    mean_a: float | None
    mean_b: float | None
    shift: float | None
    """Mean of B minus mean of A."""
    newly_unscored: int
    """Number of rollouts scored in A and not in B."""
    weight_a: float | None = None
    weight_b: float | None = None


@dataclass(frozen=True)
class Mover:
    """A criterion's part in one rollout's change of reward."""

    criterion: str
    score_a: float | None
    score_b: float | None
    change: float
    """Part of the reward's change; the parts of all criteria sum to it. Mean weight × change of score + change of
    weight × (score − reward) (Kitagawa 1955). A gate has the whole change."""
    gate: bool
    """Whether it moved the reward as a gate that the rollout now fails or no longer fails."""


@dataclass(frozen=True)
class Move:
    """A rollout whose reward moved."""

    rollout_id: str
    prompt_id: str
    prompt: str
    completion: str
    reward_a: float
    reward_b: float
    movers: list[Mover]
    """Largest first."""


@dataclass(frozen=True)
class ScoreDiff:
    """The comparison over the rollouts in both."""

    both: int
    only_a: int
    only_b: int
    reward: Shift
    criteria: dict[str, Shift]
    moved_count: int
    moved: list[Move]
    """At most `MOVED`, largest moves first."""


def compare_scores(a: ScoredRollouts, b: ScoredRollouts) -> ScoreDiff:
    """Compare two judgings; rollouts are matched by rollout_id, criteria by name."""
    shared = a.rows.select("rollout_id").join(
        b.rows.select("rollout_id"), on="rollout_id", how="inner", maintain_order="left"
    )
    left, right = _Side.of(a, shared), _Side.of(b, shared)
    names = [*left.names, *(name for name in right.names if name not in left.names)]
    change_N = right.reward_N - left.reward_N
    order_N = np.lexsort((shared["rollout_id"].to_numpy(), -np.round(np.abs(change_N), 9)))
    moved = [i for i in order_N.tolist() if abs(change_N[i]) > _NOISE]
    return ScoreDiff(
        both=shared.height,
        only_a=a.rows.height - shared.height,
        only_b=b.rows.height - shared.height,
        reward=_shift(left.reward_N, right.reward_N),
        criteria={
            name: _shift(left.column(name), right.column(name), a.weights.get(name), b.weights.get(name))
            for name in names
        },
        moved_count=len(moved),
        moved=[_move(left, right, names, i) for i in moved[:MOVED]],
    )


@dataclass(frozen=True)
class _Side:
    """One judging as arrays, with NaN for unscored."""

    rows: pl.DataFrame
    names: list[str]
    score_NC: np.ndarray
    weight_NC: np.ndarray
    """Each criterion's share of a rollout's reward: 0 if unscored; the others sum to 1."""
    reward_N: np.ndarray
    gates: dict[str, float]

    @classmethod
    def of(cls, scored: ScoredRollouts, shared: pl.DataFrame) -> "_Side":
        rows = shared.join(scored.rows, on="rollout_id", how="left", maintain_order="left")
        names = list(scored.weights)
        score_NC = rows["scores"].struct.unnest().select(pl.col(names).cast(pl.Float64)).to_numpy()
        weight_NC = ~np.isnan(score_NC) * np.array(list(scored.weights.values()))
        total_N1 = np.array([[math.fsum(weight_C)] for weight_C in weight_NC]).reshape(-1, 1)  # independent of order
        weight_NC = np.divide(weight_NC, total_N1, out=np.zeros_like(weight_NC), where=total_N1 > 0)
        return cls(rows, names, score_NC, weight_NC, rows["reward"].cast(pl.Float64).to_numpy(), scored.gates)

    def column(self, name: str) -> np.ndarray | None:
        return self.score_NC[:, self.names.index(name)] if name in self.names else None

    def score(self, name: str, i: int) -> float | None:
        column_N = self.column(name)
        return None if column_N is None or np.isnan(column_N[i]) else float(column_N[i])

    def weight(self, name: str, i: int) -> float:
        return float(self.weight_NC[i, self.names.index(name)]) if name in self.names else 0.0

    def gated_by(self, i: int) -> list[str]:
        """The gates that a rollout fails."""
        if not self.rows["gated"][i]:
            return []
        scores = {name: self.score(name, i) for name in self.gates}
        return [name for name, score in scores.items() if score is not None and score < self.gates[name]]


def _shift(
    a_N: np.ndarray | None, b_N: np.ndarray | None, weight_a: float | None = None, weight_b: float | None = None
) -> Shift:
    if a_N is None or b_N is None:
        return Shift(0, None, _mean(a_N), _mean(b_N), None, 0, weight_a, weight_b)
    scored_N = ~np.isnan(a_N) & ~np.isnan(b_N)
    mean_a, mean_b = _mean(a_N[scored_N]), _mean(b_N[scored_N])
    return Shift(
        scored=int(scored_N.sum()),
        rank_correlation=_spearman(a_N[scored_N], b_N[scored_N]),
        mean_a=mean_a,
        mean_b=mean_b,
        shift=None if mean_a is None or mean_b is None else mean_b - mean_a,
        newly_unscored=int((~np.isnan(a_N) & np.isnan(b_N)).sum()),
        weight_a=weight_a,
        weight_b=weight_b,
    )


def _mean(value_N: np.ndarray | None) -> float | None:
    """Mean over the scored; None if nothing is scored."""
    return None if value_N is None or np.isnan(value_N).all() else float(np.nanmean(value_N))


def _spearman(a_N: np.ndarray, b_N: np.ndarray) -> float | None:
    if len(a_N) < 2 or np.ptp(a_N) == 0 or np.ptp(b_N) == 0:
        return None
    from scipy.stats import spearmanr

    return float(spearmanr(a_N, b_N).statistic)


def _move(a: _Side, b: _Side, names: Sequence[str], i: int) -> Move:
    row = b.rows.row(i, named=True)
    reward_a, reward_b = float(a.reward_N[i]), float(b.reward_N[i])
    if gates := a.gated_by(i) + b.gated_by(i):
        changes = dict.fromkeys(gates, reward_b - reward_a)
    else:
        changes = {name: _part(a, b, name, i) for name in names}
    movers = [
        Mover(name, a.score(name, i), b.score(name, i), change, bool(gates))
        for name, change in sorted(changes.items(), key=lambda item: -abs(item[1]))
        if abs(change) > _NOISE
    ]
    return Move(
        rollout_id=row["rollout_id"],
        prompt_id=row["prompt_id"],
        prompt=readable_prompt(row["messages"]),
        completion=row["completion"],
        reward_a=reward_a,
        reward_b=reward_b,
        movers=movers,
    )


def _part(a: _Side, b: _Side, name: str, i: int) -> float:
    """One criterion's part of a change that no gate decides; a score missing on one side counts as unchanged."""
    known = [score for score in (a.score(name, i), b.score(name, i)) if score is not None]
    if not known:
        return 0.0
    weight_a, weight_b = a.weight(name, i), b.weight(name, i)
    above = (known[0] + known[-1]) / 2 - (float(a.reward_N[i]) + float(b.reward_N[i])) / 2
    return (weight_a + weight_b) / 2 * (known[-1] - known[0]) + (weight_b - weight_a) * above
