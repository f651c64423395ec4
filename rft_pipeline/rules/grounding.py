"""Rules about a reply from given passages: it says only what they say, and refuses where they have no answer."""

from typing import Any, Literal

import regex
from pydantic import Field

from rft_pipeline.rules.base import SECONDS, Column, ColumnName, RegexText, Rollout, Rule, RuleScore
from rft_pipeline.rules.content_words import LanguageCode, content_of, numbers_of
from rft_pipeline.rules.passages import (
    CONTEXT,
    Claim,
    claims,
    is_context,
    is_keywords,
    passages_of,
    question_of,
    supports,
)
from rft_pipeline.rules.values import yes_or_no

_SOURCE = r"(?:passage|context|manual|handbook|guide|text|document|source|excerpt|section|information)s?"
_SAY = (
    r"(?:say|mention|state|specify|specifie|cover|give|contain|include|explain|describe|answer|tell|provide|list|name"
    r"|address|addresse|indicate|show)"
)
_NOT = r"(?:\bnot|n['’]t|\bnever)"
REFUSAL = (
    rf"\b{_SOURCE}\b[^.!?\n]{{0,40}}{_NOT}\s+(?:\w+\s+)?{_SAY}s?\b"
    rf"|\b(?:no|none of the|neither|nothing in the)\b[^.!?\n]{{0,30}}\b{_SOURCE}\b[^.!?\n]{{0,20}}\b{_SAY}s?\b"
    rf"|\b(?:no|any) (?:answer|information|mention|statement|detail)s?\b[^.!?\n]{{0,60}}\b{_SOURCE}\b"
    rf"|[^.,;:!?\n]{{0,60}}{_NOT}\s+(?:\w+\s+)?{_SAY}(?:e?d|n)?\b[^.!?\n]{{0,20}}\b{_SOURCE}\b"
    r"|\b(?:cannot|can['’]t|could not|couldn['’]t|unable to)\s+(?:be\s+)?"
    r"(?:find|found|answer(?:ed)?|tell|say|determined?)\b"
    rf"|\b(?:do not|don['’]t) know\b|\b{_SOURCE}\b[^.!?\n]{{0,20}}\bsilent\b"
)
"""What saying that the passages have no answer looks like in English."""
_CASE = regex.IGNORECASE
_UP_TO_NEXT = r"(?:(?!\bbut\b)[^,;:–—.!?\n])*+"
"""What a refusal does not find, up to the next part of the sentence."""


class SupportedBy(Rule):
    """The share of the reply's claims that the passages in the prompt column `column` support, by words and numbers.

    A claim is a sentence, or the part of it up to a citation. It is supported if one passage, or those it cites
    together, hold at least the share `least` of its content words, by their stems, and all its numbers, in digits or
    in words. Words of the question count only where the claim has no others.

    A sentence that matches `refusal` ("the passages do not say …") states nothing, if what stands before it or after a
    comma or "but" is in the question or the context; else it is a claim without support. A reply that only refuses
    scores 1. An empty reply, one that states nothing, and a list of keywords score 0.

    It compares words: it does not see a missing "not", or words of one passage that are put together wrongly.
    """

    READS = ("column",)

    name: Literal["supported_by"] = "supported_by"
    version: int = 2
    column: ColumnName = "context"
    language: LanguageCode = "en"
    least: float = Field(default=0.7, gt=0, le=1)
    refusal: RegexText = REFUSAL
    stop_words: float = Field(default=0.1, ge=0, le=1)
    """A sentence of five or more words of which a smaller share are stop words is a list of keywords. Lower it for a
    language with few small words, like Finnish or Turkish."""

    def columns(self) -> tuple[Column, ...]:
        return (Column("column", self.column, is_context, "no passages", CONTEXT),)

    def __call__(self, rollout: Rollout) -> RuleScore:
        context = rollout.fields.get(self.column)
        if not is_context(context):
            return RuleScore(None, f"no context in the prompt's column {self.column!r}")
        reply, known, asked = rollout.completion, passages_of(context), question_of(rollout.prompt, context)
        if is_keywords(reply, self.stop_words, self.language):
            return RuleScore(0.0, "a list of keywords")
        stated = [each for each in claims(reply, self.language) if not self._refuses(each.sentence, known, asked)]
        if not stated:
            refuses = regex.search(self.refusal, reply, _CASE, timeout=SECONDS) is not None
            return RuleScore(float(refuses), "only refuses" if refuses else "states nothing")
        wrong = [claim.text for claim in stated if not self._supported(claim, known, asked)]
        counted = f"{len(stated) - len(wrong)} of {len(stated)} claims supported"
        return RuleScore(1 - len(wrong) / len(stated), f"{counted}; not {wrong[0][:80]!r}" if wrong else counted)

    def _refuses(self, sentence: str, known: dict[int, str], asked: str) -> bool:
        """Whether a sentence says that there is no answer, and nothing else."""
        rest, found = regex.subn(rf"(?:{self.refusal}){_UP_TO_NEXT}", " ", sentence, flags=_CASE, timeout=SECONDS)
        if not found:
            return False
        given = [asked, *known.values()]
        numbers = numbers_of(content_of(sentence, self.language)) - {*map(str, known), str(len(known))}
        if not numbers <= content_of("\n".join(given), self.language):
            return False
        return not content_of(rest, self.language) or supports(given, rest, "", self.least, self.language)

    def _supported(self, claim: Claim, known: dict[int, str], asked: str) -> bool:
        if is_keywords(claim.sentence, self.stop_words, self.language):
            return False
        cited = [known[number] for citation in claim.cited for number in citation.cites(known)]
        return any(
            supports(passages, claim.text, asked, self.least, self.language)
            for passages in ([cited] if cited else []) + [[passage] for passage in known.values()]
        )


class Refuses(Rule):
    """The reply says that there is no answer where there is none, and does not where there is one.

    `column` names the prompt column that says whether the context has the answer: true, false, 1 or 0, also as text.
    `pattern` is what a refusal looks like.
    """

    READS = ("column",)

    name: Literal["refuses"] = "refuses"
    column: ColumnName = "answerable"
    pattern: RegexText = REFUSAL

    def columns(self) -> tuple[Column, ...]:
        return (Column("column", self.column, _is_yes_or_no, "neither yes nor no", "true, false, 1, 0 (also as text)"),)

    def __call__(self, rollout: Rollout) -> RuleScore:
        answerable = yes_or_no(rollout.fields.get(self.column))
        if answerable is None:
            return RuleScore(None, f"the prompt's column {self.column!r} is neither yes nor no")
        refuses = regex.search(self.pattern, rollout.completion, _CASE, timeout=SECONDS) is not None
        does, should = "refuses" if refuses else "does not refuse", "an answer" if answerable else "no answer"
        right = refuses != answerable and bool(rollout.completion.strip())
        return RuleScore(float(right), f"{does}; the context has {should}")


def _is_yes_or_no(value: Any) -> bool:
    return yes_or_no(value) is not None
