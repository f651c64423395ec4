"""What alarms report: findings with a level, numbers and a sentence, and the alarms of a round."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np

from rft_pipeline.stats import Interval, plain


class Level(IntEnum):
    OK = 0
    WARN = 1
    """A person should read the report."""
    STOP = 2
    """No later round may start from the round's checkpoint."""

    @property
    def word(self) -> str:
        return self.name.lower()


SAME_WORDS = "have the same words"


class Shared(NamedTuple):
    """What many replies do."""

    what: str
    """After "80 % of the replies": `SAME_WORDS`, `begin with the words of their own prompt`."""
    words: str
    """The words, in lower case and without punctuation; untrusted text. Empty if each reply has others."""
    share: float
    """Share of the replies that have it."""
    base_share: float
    """The same in base's replies."""


class Finding(NamedTuple):
    """The result of one check in one round."""

    cause: str
    """`over_optimisation`, `unseen_gain`, `length_growth`, `length`, `markdown`, `phrase`, `distinct2`, `repetition`,
    `similarity`, `fixed_phrase`, `system_words`, `prompt_beginning`, `keyword_list`, `kl`, `judge_drift` or
    `judge_changed`."""
    level: Level
    found: Interval
    """NaN bounds if the number is not a mean over prompts."""
    limit: float
    sentence: str
    """What was found and what the limit is."""
    examples: tuple[str, ...] = ()
    """Replies that show it; untrusted text."""
    shared: Shared | None = None
    fell: bool = False
    """Whether the score of the alarms' judge fell, of causes that compare it with the reward."""


@dataclass(frozen=True)
class RoundAlarms:
    """The alarms of one round."""

    level: Level
    findings: tuple[Finding, ...]
    """All checks, those with the highest level first."""

    @property
    def causes(self) -> tuple[str, ...]:
        """What fired, the highest level first."""
        return tuple(dict.fromkeys(each.cause for each in self.findings if each.level))

    @property
    def reason(self) -> str:
        return " ".join(each.sentence for each in self.findings if each.level) or "Nothing fired."


def round_alarms(findings: Iterable[Finding]) -> RoundAlarms:
    """The findings by falling level; the highest level is the round's."""
    ordered = tuple(sorted(findings, key=lambda each: -each.level))
    return RoundAlarms(ordered[0].level if ordered else Level.OK, ordered)


def repeated(fires: bool, cause: str, fired_at_start: Iterable[str]) -> Level:
    """A warning the first time, a stop if the cause also fired in the round that this one started from. Two different
    phrases are the same cause."""
    if not fires:
        return Level.OK
    return Level.STOP if cause in fired_at_start else Level.WARN


def as_plain(found: RoundAlarms) -> dict[str, Any]:
    """As JSON holds it; null where a number is unknown."""
    return {
        "level": found.level.word,
        "causes": list(found.causes),
        "reason": found.reason,
        "findings": [
            {**plain(each), "level": each.level.word, "examples": list(each.examples)} for each in found.findings
        ],
    }


def spelled(interval: Interval, digits: int = 2) -> str:
    """`0.31 (0.12 to 0.50)`, or `unknown` for NaN."""
    if np.isnan(interval.mean):
        return "unknown"
    if np.isnan(interval.lower95):
        return f"{interval.mean:.{digits}f}"
    return f"{interval.mean:.{digits}f} ({interval.lower95:.{digits}f} to {interval.upper95:.{digits}f})"
