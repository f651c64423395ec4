"""A rule about the citations of a reply from the context it was given."""

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

from pydantic import Field

from rft_pipeline.rules.base import Column, ColumnName, Rollout, Rule, RuleScore
from rft_pipeline.rules.content_words import LanguageCode
from rft_pipeline.rules.passages import (
    CONTEXT,
    MARKER,
    Claim,
    Context,
    citations,
    claims,
    is_context,
    passages_of,
    question_of,
    supports,
)
from rft_pipeline.rules.values import is_yes_no_or_null, yes_or_no

_QUOTE = re.compile(r'"([^"\n]+)"|[“„]([^“”„\n]+)[”“]|«([^«»\n]+)»|「([^「」\n]+)」')
_ELLIPSIS = re.compile(r"\s*[\[(]?(?:\.\.\.|…)[\])]?\s*")
_STRAIGHT = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "„": '"', "–": "-", "—": "-", "−": "-"})


class CheckedCitation(NamedTuple):
    text: str
    valid: bool
    why: str = ""
    """What is wrong with it; empty if it is valid or names no passage."""


class CitesContext(Rule):
    """The share of the reply's citations that are valid, against the prompt column `column`.

    The column holds the passages the prompt shows, in the order of their numbers: a list of texts, or one text. In a
    text with lines that begin with [n], those lines begin the passages; any other text is passage 1.

    `how: markers`: [1], [1, 3], [2-4] and 【1】 must be numbers of passages. `quotes`: a span in quotation marks
    ("…", “…”, „…“, «…», 「…」) of at least `min_quote_letters` letters must be in one passage word for word; white
    space, case, the shape of quotes and dashes and the last punctuation do not count, and "…" inside leaves words out.
    Shorter spans do not count as citations. `both`: either is a citation, and all must be valid.

    With `supports`, a marker must also stand at a claim that its passages support: together they hold at least this
    share of its content words and all its numbers, as in `supported_by`, and each of them is needed for that or does it
    alone (citation recall and precision; Gao et al. 2023, arXiv 2305.14627). [2-4] then counts as three citations.

    A reply without a citation scores 0 if one is `required`, else 1. An empty list means that there is nothing to
    cite: then a reply that cites nothing is right. So it is where the prompt column `when` says no.
    """

    READS = ("column", "when")

    name: Literal["cites_context"] = "cites_context"
    version: int = 3
    column: ColumnName = "context"
    how: Literal["markers", "quotes", "both"] = "markers"
    required: bool = True
    when: ColumnName | None = None
    """A column that says whether the context has something to cite, e.g. `answerable`."""
    supports: float | None = Field(default=None, gt=0, le=1)
    language: LanguageCode = "en"
    """Whose stop words and stems `supports` uses."""
    min_quote_letters: int = Field(default=15, ge=1)

    def columns(self) -> tuple[Column, ...]:
        found = Column("column", self.column, is_context, "no passages", CONTEXT)
        if self.when is None:
            return (found,)
        absent = "to such a prompt, a reply that cites nothing scores 0"
        allowed = "true, false, 1, 0 (also as text), null"
        return (found, Column("when", self.when, is_yes_no_or_null, "neither yes nor no", allowed, absent))

    def __call__(self, rollout: Rollout) -> RuleScore:
        context = rollout.fields.get(self.column)
        if not is_context(context):
            return RuleScore(None, f"no context in the prompt's column {self.column!r}")
        found = list(self._citations(rollout, context))
        if not found:
            something = context != [] and (self.when is None or yes_or_no(rollout.fields.get(self.when)) is not False)
            needed = self.required and something
            return RuleScore(float(not needed), "cites nothing" if needed else "cites nothing, which is allowed")
        wrong = [each for each in found if not each.valid]
        counted = f"{len(found) - len(wrong)} of {len(found)} citations valid"
        named = f"; not {wrong[0].text[:60]!r}{wrong[0].why}" if wrong else ""
        return RuleScore(1 - len(wrong) / len(found), counted + named)

    def _citations(self, rollout: Rollout, context: Context) -> Iterator[CheckedCitation]:
        reply, known = rollout.completion, passages_of(context)
        if self.how != "quotes" and self.supports is None:
            for marker in MARKER.finditer(reply):
                yield from (CheckedCitation(each.text, bool(each.cites(known))) for each in citations(marker[1]))
        elif self.how != "quotes":
            asked = question_of(rollout.prompt, context)
            for claim in claims(reply, self.language):
                yield from self._supporting(claim, known, asked)
        if self.how != "markers":
            yield from _quotes(reply, list(known.values()), self.min_quote_letters)

    def _supporting(self, claim: Claim, known: dict[int, str], asked: str) -> Iterator[CheckedCitation]:
        """The citations of a claim: valid if its passages support it together, and not without this one."""

        def supported(numbers: set[int]) -> bool:
            return supports([known[number] for number in numbers], claim.text, asked, self.supports or 1, self.language)

        every = {number for citation in claim.cited for number in citation.cites(known)}
        for citation in claim.cited:
            for number in citation.cites(known) or [0]:
                needed = number in every and (supported({number}) or not supported(every - {number}))
                valid = needed and supported(every)
                yield CheckedCitation(
                    citation.text, valid, f" for {claim.text[:80]!r}" if number in every and not valid else ""
                )


def _quotes(reply: str, passages: list[str], least: int) -> Iterator[CheckedCitation]:
    for found in _QUOTE.finditer(reply):
        quoted = next(part for part in found.groups() if part is not None)
        if sum(map(str.isalpha, quoted)) >= least:
            yield CheckedCitation(found.group(), any(is_quote(quoted, passage) for passage in passages))


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
