"""Marks in the files of a copied campaign: what was written, fitted or labelled for the campaign it was copied from."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

_TEXT = re.compile(r"# Written for (\w+): change it\.")
_SQUASH = re.compile(r"# The squash of (\w+) was fitted for (\w+):")
_ALARM = re.compile(r"# The squash of (\w+), a judge of the alarms, was fitted for (\w+):")
_EXAMPLE = re.compile(r"an example from (\w+):")
COMMENT = "comment"
"""The column of a row that is marked."""


def mark(task: str) -> str:
    """The comment above a text."""
    return f"Written for {task}: change it."


def mark_of_squash(criterion: str, task: str) -> str:
    """The comment above a squash."""
    return f"The squash of {criterion} was fitted for {task}: `rft audit --suggest` fits yours."


def mark_of_alarm(criterion: str, task: str) -> str:
    """The comment above the squash of a judge of the alarms."""
    return (
        f"The squash of {criterion}, a judge of the alarms, was fitted for {task}: docs/trusting-the-judge.md says "
        "what to do."
    )


def mark_of_row(task: str, what_to_do: str) -> str:
    """The `COMMENT` of a row."""
    return f"an example from {task}: {what_to_do}"


def marked_lines(path: Path) -> dict[str, list[int]]:
    """Task → the lines of a YAML file, from 1, that mark a text written for it."""
    found = defaultdict(list)
    for number, line in _lines(path):
        if marked := _TEXT.search(line):
            found[marked[1]].append(number)
    return dict(found)


def marked_squashes(path: Path) -> dict[str, dict[str, int]]:
    """Task → criterion → the line of a YAML file, from 1, that marks its squash as fitted for the task."""
    return _marked(path, _SQUASH)


def marked_alarms(path: Path) -> dict[str, dict[str, int]]:
    """The same for the judges of the alarms."""
    return _marked(path, _ALARM)


def _marked(path: Path, mark: re.Pattern[str]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for number, line in _lines(path):
        if marked := mark.search(line):
            found[marked[2]][marked[1]] = number
    return dict(found)


def examples_in(rows: Iterable[str]) -> Counter[str]:
    """Task → how many rows are examples from it; each row is the JSON of its columns."""
    comments = (json.loads(row).get(COMMENT) for row in rows)
    found = (_EXAMPLE.match(comment) for comment in comments if isinstance(comment, str))
    return Counter(marked[1] for marked in found if marked)


def _lines(path: Path) -> Iterable[tuple[int, str]]:
    return enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
