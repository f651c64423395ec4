"""What a judge gets, and what it answers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from rft_pipeline.rubric import Squash
from rft_pipeline.rules import Rollout


class Status(StrEnum):
    SCORED = "scored"
    UNSCORED = "unscored"
    """The judge failed or could not be read: there is no score, and none is made up."""


@dataclass(frozen=True)
class Judgement:
    """One criterion's verdict on one rollout."""

    score: float | None
    """In [0, 1]; None when unscored."""
    status: Status
    raw: str
    """What the judge measured or wrote, before it became a score."""
    reason: str
    tokens: int = 0
    """Tokens the judge read."""


class Judge(Protocol):
    """Decides one criterion."""

    def score(self, rollouts: Sequence[Rollout]) -> list[Judgement]:
        """One judgement a rollout, in order. Raises `EngineError` when the engine is gone altogether."""
        ...


def scored(score: float, raw: str, reason: str, tokens: int = 0) -> Judgement:
    """A judgement with a score, or unscored when the score is not a number in [0, 1]."""
    if not math.isfinite(score) or not 0 <= score <= 1:
        return unscored(raw, f"score {score} is not in [0, 1]", tokens)
    return Judgement(score, Status.SCORED, raw, reason, tokens)


def unscored(raw: str, reason: str, tokens: int = 0) -> Judgement:
    return Judgement(None, Status.UNSCORED, raw, reason, tokens)


def empty_reply() -> Judgement:
    """An empty reply does nothing well; leaving it unscored would take it out of its group's baseline."""
    return Judgement(0.0, Status.SCORED, "", "empty reply")


def squash(nats: float, how: Squash) -> float:
    """A log-likelihood difference as a score in (0, 1); NaN stays NaN."""
    if math.isnan(nats):
        return nats  # min and max would turn it into a number
    return 1 / (1 + math.exp(-max(-700.0, min(700.0, (nats - how.offset) / how.scale))))
