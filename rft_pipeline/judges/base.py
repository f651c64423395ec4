"""What a judge is given, and what it returns."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NamedTuple, Protocol

from rft_pipeline.judges.squash import Squash
from rft_pipeline.rules import Rollout


class Status(StrEnum):
    SCORED = "scored"
    UNSCORED = "unscored"
    """The judge could not decide, or its answer could not be read."""
    FAILED = "failed"
    """The judge could not be asked. Such a judgement is not stored: the next run asks again."""


@dataclass(frozen=True)
class Judgement:
    """What one criterion's judge found about one rollout."""

    score: float | None
    """In [0, 1]; None unless scored."""
    status: Status
    raw: str
    """What the judge measured or wrote, before it became a score."""
    reason: str
    tokens: int = 0
    """Tokens the judge read."""
    tokens_out: int = 0
    """Tokens the judge wrote."""
    cost: float = 0.0
    """Money, in the currency of the campaign's prices."""
    details: Mapping[str, int] = field(default_factory=dict)
    """Numbers for the audit, by name: e.g. the place at which the reply was shown."""
    measured: float | None = None
    """The number that the criterion's squash turned into the score; it is stored in place of the score."""


class Opinion(NamedTuple):
    """A judgement from which, with others, another one is computed: that of a panel's member, or of an item."""

    score: float | None
    status: str
    tokens: int = 0
    tokens_out: int = 0
    cost: float = 0.0


def with_usage_of(opinions: Sequence[Opinion], judgement: Judgement) -> Judgement:
    """A judgement that was computed from these, with the tokens and the cost of all of them."""
    return replace(
        judgement,
        tokens=sum(each.tokens for each in opinions),
        tokens_out=sum(each.tokens_out for each in opinions),
        cost=sum(each.cost for each in opinions),
    )


Judged = list[tuple[int, Judgement]]
"""Judgements, each with the index of its rollout; those of one list are stored together."""


class Judge(Protocol):
    """Decides one criterion."""

    def score(self, rollouts: Sequence[Rollout]) -> Iterator[Judged]:
        """One judgement for each rollout, in any order, each as soon as it is made.

        A judge that compares must be given all different replies to a prompt. Raises `EngineError` when the engine no
        longer works or has reached a limit.
        """
        ...


def scored(score: float, raw: str, reason: str, tokens: int = 0, details: Mapping[str, int] | None = None) -> Judgement:
    """A judgement with a score, or unscored when the score is not a number in [0, 1]."""
    if not math.isfinite(score) or not 0 <= score <= 1:
        return unscored(raw, f"score {score} is not in [0, 1]", tokens)
    return Judgement(score, Status.SCORED, raw, reason, tokens, details=details or {})


def measured(number: float, squash: Squash, raw: str, reason: str, tokens: int = 0) -> Judgement:
    """A judgement with the squashed number as its score, or unscored when it is not finite."""
    if not math.isfinite(number):
        return unscored(raw, f"the judge measured {number}", tokens)
    return Judgement(squash.score(number), Status.SCORED, raw, reason, tokens, measured=number)


def unscored(raw: str, reason: str, tokens: int = 0) -> Judgement:
    return Judgement(None, Status.UNSCORED, raw, reason, tokens)


def failed(reason: str) -> Judgement:
    return Judgement(None, Status.FAILED, "", reason)


def is_empty(rollout: Rollout) -> bool:
    return not rollout.completion.strip()


def empty_reply() -> Judgement:
    """An empty reply does nothing well; leaving it unscored would take it out of its group's baseline."""
    return Judgement(0.0, Status.SCORED, "", "empty reply")
