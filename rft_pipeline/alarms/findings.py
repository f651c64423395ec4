"""What an alarm says: one level, the causes by name, and for each its numbers and a plain sentence."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np

from rft_pipeline.stats import Interval


class Level(IntEnum):
    OK = 0
    WARN = 1
    """A person should look."""
    STOP = 2
    """Nothing may follow from the round's checkpoint."""

    @property
    def word(self) -> str:
        return self.name.lower()


class Finding(NamedTuple):
    """One thing that was looked at in one round."""

    cause: str
    """`over_optimisation`, `unseen_gain`, `exploitation`, `length_growth`, `length`, `markdown`, `phrase`,
    `distinct2`, `repetition`, `similarity`, `kl`, `judge_drift` or `judge_changed`."""
    level: Level
    found: Interval
    """NaN bounds where the number is not a mean over prompts."""
    limit: float
    sentence: str
    """What was found beside what is allowed."""
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class RoundAlarms:
    """What the alarms say of one round."""

    level: Level
    findings: tuple[Finding, ...]
    """All that was looked at; those that fired first, the gravest first."""

    @property
    def causes(self) -> tuple[str, ...]:
        """What fired, the gravest first."""
        return tuple(dict.fromkeys(each.cause for each in self.findings if each.level))

    @property
    def reason(self) -> str:
        return " ".join(each.sentence for each in self.findings if each.level) or "Nothing fired."


def round_alarms(findings: Iterable[Finding]) -> RoundAlarms:
    """The gravest level of the findings is the verdict's; the order within a level is kept."""
    ordered = tuple(sorted(findings, key=lambda each: -each.level))
    return RoundAlarms(ordered[0].level if ordered else Level.OK, ordered)


def repeated(fires: bool, cause: str, before: Iterable[str]) -> Level:
    """A warning the first time; a stop when the round it started from had the cause as well. Causes are compared by
    name: a phrase that pays after another phrase did is the same cause."""
    if not fires:
        return Level.OK
    return Level.STOP if cause in before else Level.WARN


def as_plain(found: RoundAlarms) -> dict[str, Any]:
    """As JSON holds it; null where the data cannot say."""
    return {
        "level": found.level.word,
        "causes": list(found.causes),
        "reason": found.reason,
        "findings": [
            {
                "cause": each.cause,
                "level": each.level.word,
                "found": each.found.as_plain(),
                "limit": each.limit,
                "sentence": each.sentence,
                "examples": list(each.examples),
            }
            for each in found.findings
        ],
    }


def spelled(interval: Interval, digits: int = 2) -> str:
    """`0.31 (0.12 to 0.50)`; `unknown` where the data cannot say."""
    if np.isnan(interval.mean):
        return "unknown"
    if np.isnan(interval.lower95):
        return f"{interval.mean:.{digits}f}"
    return f"{interval.mean:.{digits}f} ({interval.lower95:.{digits}f} to {interval.upper95:.{digits}f})"
