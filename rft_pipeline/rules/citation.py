"""A rule about the citations of a reply from the context it was given."""

import re
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, TypeGuard

from pydantic import Field

from rft_pipeline.rules.base import Column, ColumnName, Rollout, Rule, RuleScore

_MARKER = re.compile(r"[\[【]\s*(\d{1,9}(?:\s*[-–,;]\s*\d{1,9}){0,50}+)\s*[\]】]")
_NUMBERED = re.compile(r"^\s*\[(\d{1,9})\]", re.MULTILINE)
_QUOTE = re.compile(r'"([^"\n]+)"|[“„]([^“”„\n]+)[”“]|«([^«»\n]+)»|「([^「」\n]+)」')
_ELLIPSIS = re.compile(r"\s*[\[(]?(?:\.\.\.|…)[\])]?\s*")
_STRAIGHT = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "„": '"', "–": "-", "—": "-", "−": "-"})


class Citation(NamedTuple):
    text: str
    valid: bool


class CitesContext(Rule):
    """The share of the reply's citations that are valid, against the prompt column `column`.

    The column holds the passages the prompt shows, in the order of their numbers: a list of texts, or one text. In a
    text with lines that begin with [n], those lines begin the passages; any other text is passage 1.

    `how: markers`: [1], [1, 3], [2-4] and 【1】 must be numbers of passages. `quotes`: a span in quotation marks
    ("…", “…”, „…“, «…», 「…」) of at least `min_quote_letters` letters must be in one passage word for word; white
    space, case, the shape of quotes and dashes and the last punctuation do not count, and "…" inside leaves words out.
    Shorter spans do not count as citations. `both`: either is a citation, and all must be valid.

    A reply without a citation scores 0 if one is `required`, else 1. An empty list means that there is nothing to
    cite: then a reply that cites nothing is right.
    """

    name: Literal["cites_context"] = "cites_context"
    column: ColumnName = "context"
    how: Literal["markers", "quotes", "both"] = "markers"
    required: bool = True
    min_quote_letters: int = Field(default=15, ge=1)

    def columns(self) -> tuple[Column, ...]:
        allowed = "a text that is not empty, or a list of texts (an empty list: nothing was found to cite)"
        return (Column("column", self.column, _is_context, "no passages", allowed),)

    def __call__(self, rollout: Rollout) -> RuleScore:
        context = rollout.fields.get(self.column)
        if not _is_context(context):
            return RuleScore(None, f"no context in the prompt's column {self.column!r}")
        citations = list(self._citations(rollout.completion, context))
        if not citations:
            needed = self.required and context != []
            return RuleScore(float(not needed), "cites nothing" if needed else "cites nothing, which is allowed")
        wrong = [citation.text for citation in citations if not citation.valid]
        counted = f"{len(citations) - len(wrong)} of {len(citations)} citations valid"
        return RuleScore(1 - len(wrong) / len(citations), f"{counted}; not {wrong[0][:60]!r}" if wrong else counted)

    def _citations(self, reply: str, context: str | list[str]) -> Iterator[Citation]:
        if self.how != "quotes":
            yield from _markers(reply, _numbers(context))
        if self.how != "markers":
            passages = [context] if isinstance(context, str) else context
            yield from _quotes(reply, passages, self.min_quote_letters)


def _markers(reply: str, known: set[int]) -> Iterator[Citation]:
    for found in _MARKER.finditer(reply):
        for part in re.split(r"[,;]", found[1]):
            ends = [int(number) for number in re.split(r"[-–]", part)]
            yield Citation(f"[{part.strip()}]", known.issuperset(ends) and ends == sorted(ends) and len(ends) <= 2)


def _quotes(reply: str, passages: list[str], least: int) -> Iterator[Citation]:
    for found in _QUOTE.finditer(reply):
        quoted = next(part for part in found.groups() if part is not None)
        if sum(map(str.isalpha, quoted)) >= least:
            yield Citation(found.group(), any(is_quote(quoted, passage) for passage in passages))


def is_quote(text: str, passage: str) -> bool:
    """Whether a text is in a passage word for word, except for white space, case, the shape of quotes and dashes, and
    punctuation at its ends. "…" inside leaves words out."""
    parts = [bare for part in _ELLIPSIS.split(text) if (bare := _bare(part).strip(" .,;:!?。、，！？"))]
    passage, place = _bare(passage), 0
    for part in parts:
        found = passage.find(part, place)
        if found < 0:
            return False
        place = found + len(part)
    return bool(parts)


def _bare(text: str) -> str:
    """A text in one case, with single spaces and straight quotes and dashes."""
    return " ".join(text.translate(_STRAIGHT).casefold().split())


def _numbers(context: str | list[str]) -> set[int]:
    if isinstance(context, list):
        return set(range(1, len(context) + 1))
    return {int(number) for number in _NUMBERED.findall(context)} or {1}


def _is_context(value: Any) -> TypeGuard[str | list[str]]:
    if isinstance(value, list):
        return all(isinstance(passage, str) for passage in value)
    return isinstance(value, str) and bool(value.strip())
