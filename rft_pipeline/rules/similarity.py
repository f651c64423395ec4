"""A rule about the similarity of a reply to a reference."""

from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from rft_pipeline.rules.base import Column, ColumnName, Rollout, Rule, RuleScore
from rft_pipeline.rules.values import text_of
from rft_pipeline.rules.words import words

if TYPE_CHECKING:
    from sacrebleu.metrics.chrf import CHRF


class Similarity(Rule):
    """The similarity of the reply to the reference in the prompt column `column`; of several, to the closest.

    `chrf`: F-score of character 6-grams, recall counting twice (chrF2, Popović 2015), for translations and summaries.
    `token_sort`: share of characters in common after sorting the words, without case and punctuation: for short
    answers in any order. `exact`: 1 for the same text except for case and white space, otherwise 0.
    """

    READS = ("column",)

    name: Literal["similarity"] = "similarity"
    version: int = 3
    column: ColumnName = "reference"
    how: Literal["chrf", "token_sort", "exact"] = "chrf"

    def columns(self) -> tuple[Column, ...]:
        allowed = "a text or a number, or a list of them, of which the closest counts; none of them empty"
        return (Column("column", self.column, _are_references, "no text to compare with", allowed),)

    def __call__(self, rollout: Rollout) -> RuleScore:
        given = rollout.fields.get(self.column)
        references = [text for text in map(text_of, given if isinstance(given, list) else [given]) if text is not None]
        if not _are_references(given):
            return RuleScore(None, f"no reference in the prompt's column {self.column!r}")
        score = max(self._like(_encodable(rollout.completion), _encodable(reference)) for reference in references)
        return RuleScore(min(1.0, max(0.0, score)), f"{self.how} {score:.2f}")

    def _like(self, reply: str, reference: str) -> float:
        if not reply.strip():
            return 0.0
        if self.how == "exact":
            return float(reply.casefold().split() == reference.casefold().split())
        if self.how == "chrf":
            return float(_chrf().sentence_score(reply, [reference]).score) / 100
        from rapidfuzz import fuzz, utils

        spaced = (" ".join(words(text)) for text in (reply, reference))
        return fuzz.token_sort_ratio(*spaced, processor=utils.default_process) / 100


def _are_references(value: Any) -> bool:
    texts = value if isinstance(value, list) else [value]
    return bool(texts) and all(text_of(text) is not None for text in texts)


def _encodable(text: str) -> str:
    """The text without lone surrogates, which no library accepts."""
    return text.encode("utf-8", "replace").decode()


@cache
def _chrf() -> "CHRF":
    from sacrebleu.metrics.chrf import CHRF

    return CHRF()
