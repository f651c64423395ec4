"""What MLflow's labelling page shows: questions, and prompts and replies as text.

MLflow limits a question: at most 10 options of 64 characters, 1,000 characters of text, and one reserved name.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from rft_pipeline.errors import ConfigError
from rft_pipeline.labels.exports import LabelQuestion
from rft_pipeline.labels.pairs import LEFT, RIGHT, TIE

NOTE = "note"
"""The last question of each page: free text."""
MOST_OPTIONS, LONGEST_OPTION, LONGEST_TEXT, LONGEST_NAME = 10, 64, 1000, 250
RESERVED = "feedback"
_MARKS = re.compile(r"[\\`*_\[\]<>|~&$]")
"""What is markup wherever it is in a line."""
_AT_START = re.compile(r"^(\u00a0*)([#+=-]|\d+[.)])", re.MULTILINE)
"""What starts a heading, rule or list."""
_INDENT = re.compile(r"^[ \t]+", re.MULTILINE)
_UNSEEN = "\N{ZERO WIDTH SPACE}"


@dataclass(frozen=True)
class PageQuestion:
    """A question of the page, answered by yes or no, or by one of `options`."""

    name: str
    text: str
    options: dict[str, str] = field(default_factory=dict)
    """What the page offers → the cell of a file with the same answer; empty for yes or no."""


PREFERRED = PageQuestion("preferred", "Which reply is better?", {side: side for side in (LEFT, RIGHT, TIE)})
"""The question about a blind pair."""


class PageItem(NamedTuple):
    """What is labelled: its id on our side, which the page does not show, and the two texts of the page."""

    key: str
    request: str
    response: str


def label_page(criteria: Mapping[str, LabelQuestion]) -> list[PageQuestion]:
    """The questions of an export of rollouts. Raises `ConfigError` with everything that MLflow cannot hold."""
    questions = [_page_question(name, asked) for name, asked in criteria.items()]
    if wrong := [problem for question in questions for problem in _problems(question)]:
        raise ConfigError("\n".join(wrong) + "\nThe CSV has no such limits: leave out --to mlflow")
    return questions


def as_shown(text: str) -> str:
    """The Markdown that MLflow's page shows as exactly this text: an untrusted reply is no markup there.

    The page would also format JSON, such as 1e5; an invisible first character prevents this.
    """
    lines = "\n".join(text.splitlines())
    indented = _INDENT.sub(lambda found: "\N{NO-BREAK SPACE}" * len(found[0].expandtabs(4)), lines)
    shown = _AT_START.sub(lambda found: f"{found[1]}{found[2][:-1]}\\{found[2][-1]}", _MARKS.sub(r"\\\g<0>", indented))
    shown = re.sub(r"\n(?=\n)", f"\n{_UNSEEN}", shown).replace("\n", "  \n")
    return _UNSEEN + shown if not shown.strip() or _is_json(shown) else shown


def _page_question(name: str, asked: LabelQuestion) -> PageQuestion:
    text = " ".join(asked.description.split())
    named = [f"{number} = {' '.join(grade.split())}".strip() for number, grade in enumerate(asked.grades, start=1)]
    if any(len(option) > LONGEST_OPTION for option in named):
        text = f"{text} {'; '.join(named)}".strip()
    return PageQuestion(name, text, {_cut(option): str(number) for number, option in enumerate(named, start=1)})


def _problems(question: PageQuestion) -> Iterator[str]:
    if len(question.options) > MOST_OPTIONS:
        yield (f"{question.name}: has {len(question.options)} grades; a question of MLflow has at most {MOST_OPTIONS}")
    if len(question.text) > LONGEST_TEXT:
        yield (
            f"{question.name}: its question has {len(question.text)} characters; MLflow holds {LONGEST_TEXT}. Ask "
            "people a shorter one: the criterion's `description` in rubric.yaml, which no judge reads"
        )
    if question.name.casefold() == RESERVED:
        yield f"{question.name}: MLflow reserves this name for a question of its own; rename the criterion"
    if len(question.name) > LONGEST_NAME:
        yield f"{question.name}: the name has {len(question.name)} characters; MLflow holds {LONGEST_NAME}"


def _cut(option: str) -> str:
    return option if len(option) <= LONGEST_OPTION else f"{option[: LONGEST_OPTION - 1]}…"


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def question_from(stored: Mapping[str, Any]) -> PageQuestion:
    """A question of a stored record."""
    return PageQuestion(stored["name"], stored["text"], dict(stored["options"]))
