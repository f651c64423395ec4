"""The alarm timeline: what was looked at in each round, and how grave it was."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

CAUSES = {
    "over_optimisation": "Reward without held-out gain",
    "unseen_gain": "Gain the held-out judge misses",
    "exploitation": "Credit the held-out judge rejects",
    "length": "Length pays",
    "markdown": "Markup pays",
    "phrase": "A phrase pays",
    "length_growth": "Longer without gain",
    "distinct2": "Fewer distinct word pairs",
    "repetition": "Repetition within replies",
    "similarity": "Alike replies to all prompts",
    "kl": "KL to base",
    "judge_drift": "Judge drift",
    "judge_changed": "Another judge",
}
"""In the order shown: is the gain real, what pays, are replies still different, how far from base, is the judge the
same."""
LEVELS = ("ok", "warn", "stop")


class Cell(NamedTuple):
    """One alarm in one round."""

    level: str
    """ok, warn, stop; empty where it was not looked at."""
    said: str


class Row(NamedTuple):
    """One alarm over the rounds."""

    name: str
    cells: tuple[Cell, ...]


class Alarm(NamedTuple):
    """What fired in a round."""

    level: str
    """warn or stop."""
    causes: tuple[str, ...]
    """Names of the alarms with that level."""


def timeline(verdicts: Sequence[Mapping[str, Any]]) -> list[Row]:
    """A row an alarm that was looked at in any round, with a cell a round; `verdicts` as an eval report holds them."""
    rows = [Row(name, tuple(_cell(each, cause) for each in verdicts)) for cause, name in CAUSES.items()]
    return [row for row in rows if any(cell.level for cell in row.cells)]


def last_alarm(verdicts: Sequence[Mapping[str, Any]]) -> Alarm | None:
    """What fired in the last round, the gravest alone; None when nothing did."""
    level = str(verdicts[-1]["level"]) if verdicts else LEVELS[0]
    if level == LEVELS[0]:
        return None
    return Alarm(level, tuple(row.name for row in timeline(verdicts[-1:]) if row.cells[0].level == level))


def _cell(verdict: Mapping[str, Any], cause: str) -> Cell:
    """The gravest of a round's findings with one cause, of which there may be one a criterion."""
    findings = [found for found in verdict["findings"] if found["cause"] == cause]
    if not findings:
        return Cell("", "not looked at")
    level = max((str(found["level"]) for found in findings), key=LEVELS.index)
    return Cell(level, " ".join(found["sentence"] for found in findings if found["level"] == level))
