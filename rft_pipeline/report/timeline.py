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
    "kl": "Distance from base",
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


def timeline(verdicts: Sequence[Mapping[str, Any]]) -> list[Row]:
    """A row an alarm that was looked at in any round, with a cell a round; `verdicts` as an eval report holds them."""
    return [
        row for row in (_row(name, cause, verdicts) for cause, name in CAUSES.items()) if any(map(_told, row.cells))
    ]


def _row(name: str, cause: str, verdicts: Sequence[Mapping[str, Any]]) -> Row:
    return Row(
        name, tuple(_cell([found for found in each["findings"] if found["cause"] == cause]) for each in verdicts)
    )


def _cell(findings: Sequence[Mapping[str, Any]]) -> Cell:
    """The gravest of several findings with one cause, e.g. one a criterion."""
    if not findings:
        return Cell("", "not looked at")
    level = max((str(found["level"]) for found in findings), key=LEVELS.index)
    return Cell(level, " ".join(found["sentence"] for found in findings if found["level"] == level))


def _told(cell: Cell) -> bool:
    return bool(cell.level)
