"""The alarm timeline: each alarm's level in each round."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

CAUSES = {
    "over_optimisation": "Reward up, score of the alarms' judge not",
    "unseen_gain": "Score of the alarms' judge up too little",
    "length": "Length raises the reward",
    "markdown": "Markup raises the reward",
    "phrase": "A phrase raises the reward",
    "length_growth": "Longer without a gain",
    "distinct2": "Fewer distinct word pairs",
    "repetition": "Repetition within replies",
    "similarity": "Similar replies to all prompts",
    "fixed_phrase": "The same phrase in many replies",
    "system_words": "Copies the system prompt",
    "prompt_beginning": "Begins with the prompt's words",
    "keyword_list": "Lists of keywords",
    "kl": "KL to the baseline",
    "judge_drift": "Judge drift",
    "judge_changed": "Judge replaced",
}
"""Titles, in the order shown: is the gain real, what raises the reward, are replies diverse and not copied, is the
judge the same."""
FELL = {
    "over_optimisation": "Reward up, score of the alarms' judge down",
    "unseen_gain": "Score of the alarms' judge fell",
}
"""Titles where the alarm fired in the newest round and the score of the alarms' judge fell."""
MOVED_BY = {"policy": "the policy", "judge": "a judge that changed", "none": "no clear change"}
"""What moved the reward → in words."""
LEVELS = ("ok", "warn", "stop")


class Cell(NamedTuple):
    """One alarm in one round."""

    level: str
    """ok, warn or stop; empty if it was not checked."""
    sentence: str


class AlarmRow(NamedTuple):
    """One alarm over the rounds."""

    name: str
    cells: tuple[Cell, ...]


class Alarm(NamedTuple):
    """What fired in a round."""

    level: str
    """warn or stop."""
    causes: tuple[str, ...]
    """Names of the alarms with that level."""


def timeline(verdicts: Sequence[Mapping[str, Any]]) -> list[AlarmRow]:
    """One row per alarm that was checked in any round, one cell per round; `verdicts` as in an eval report."""
    rows = [AlarmRow(title(cause, verdicts), tuple(_cell(each, cause) for each in verdicts)) for cause in CAUSES]
    return [row for row in rows if any(cell.level for cell in row.cells)]


def last_alarm(verdicts: Sequence[Mapping[str, Any]]) -> Alarm | None:
    """The alarms with the highest level in the last round; None if nothing fired."""
    level = str(verdicts[-1]["level"]) if verdicts else LEVELS[0]
    if level == LEVELS[0]:
        return None
    newest = verdicts[-1:]
    fired = [cause for cause in CAUSES if _cell(newest[0], cause).level == level]
    if "over_optimisation" in fired:  # it says what the unseen gain says
        fired = [cause for cause in fired if cause != "unseen_gain"]
    return Alarm(level, tuple(title(cause, newest) for cause in fired))


def patterns(verdicts: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The findings of the newest round that name what many replies share: those that fired. If none of these does, but
    another alarm fired, the phrase that became more frequent than any other, so that a reader sees what changed."""
    named = [found for found in verdicts[-1]["findings"] if found["shared"]]
    fired = [found for found in named if found["level"] != LEVELS[0]]
    if fired or verdicts[-1]["level"] == LEVELS[0]:
        return fired
    return [found for found in named if found["cause"] == "fixed_phrase"]


def title(cause: str, verdicts: Sequence[Mapping[str, Any]]) -> str:
    """The title of an alarm, by what the newest of the rounds found."""
    fired = (found for found in verdicts[-1]["findings"] if found["cause"] == cause and found["level"] != LEVELS[0])
    fell = any(found.get("fell") for found in fired)
    return FELL[cause] if fell else CAUSES[cause]


def cause_in_words(moved_by: str) -> str:
    """What moved a round's reward, for readers."""
    return MOVED_BY[moved_by]


def _cell(verdict: Mapping[str, Any], cause: str) -> Cell:
    """The findings of one cause with the highest level; there may be one finding per criterion."""
    findings = [found for found in verdict["findings"] if found["cause"] == cause]
    if not findings:
        return Cell("", "not checked")
    level = max((str(found["level"]) for found in findings), key=LEVELS.index)
    return Cell(level, " ".join(found["sentence"] for found in findings if found["level"] == level))
