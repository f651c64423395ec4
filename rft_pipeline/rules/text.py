"""Rules about the form of a reply: its end, its length, its parts."""

import re
from typing import Literal

import regex
from pydantic import Field, model_validator

from rft_pipeline.rules.base import SECONDS, Column, RegexText, Rollout, Rule, RuleScore
from rft_pipeline.rules.values import is_yes_no_or_null, yes_or_no
from rft_pipeline.rules.words import ends_as_a_sentence, sentences, words

_MARKDOWN = re.compile(
    r"^\s*(#{1,6}\s|[-*+]\s|\d+[.)]\s|>\s|```)|\*\*|__|(?<!\w)\*\w[^*\n]*\*(?!\w)|\]\(", re.MULTILINE
)


class Finishes(Rule):
    """The reply ends by itself, within the budget, as a sentence unless `sentence` is false, and says something."""

    READS = ()

    name: Literal["finishes"] = "finishes"
    version: int = 2
    min_words: int = Field(default=4, ge=1)
    sentence: bool = Field(default=True, exclude_if=lambda given: given is True)

    def best_score(self, max_new_tokens: int) -> float:
        return 1.0 if self.min_words < max_new_tokens else 0.0  # the end of the turn is a token too

    def __call__(self, rollout: Rollout) -> RuleScore:
        if rollout.finish_reason != "stop":
            return RuleScore(0.0, "cut off by the token budget")
        count = len(words(rollout.completion))
        if count < self.min_words:
            return RuleScore(0.0, f"{count} words, fewer than {self.min_words}")
        if self.sentence and not ends_as_a_sentence(rollout.completion):
            return RuleScore(0.0, "does not end as a sentence")
        return RuleScore(1.0, "ends by itself")


class AsksFor(Rule):
    """The reply asks for something where it is needed, and does not where it is not.

    `pattern` is what asking looks like; `when` names the prompt column that says whether it is needed.
    """

    READS = ("when",)

    name: Literal["asks_for"] = "asks_for"
    version: int = 2
    pattern: RegexText
    when: str | None = None

    def columns(self) -> tuple[Column, ...]:
        if self.when is None:
            return ()
        wrong, allowed, absent = (
            "neither yes nor no",
            "true, false, 1, 0 (also as text), null",
            "on such a prompt, asking counts as not needed",
        )
        return (Column("when", self.when, is_yes_no_or_null, wrong, allowed, absent),)

    def __call__(self, rollout: Rollout) -> RuleScore:
        asks = regex.search(self.pattern, rollout.completion, regex.IGNORECASE, timeout=SECONDS) is not None
        needed = True if self.when is None else yes_or_no(rollout.fields.get(self.when)) is True
        reason = f"{'asks' if asks else 'does not ask'}, {'needed' if needed else 'not needed'}"
        return RuleScore(float(asks == needed), reason)


class Length(Rule):
    """The reply has between `min_words` and `max_words` words, and at most `max_sentences` sentences.

    Outside, the score falls linearly: to 0 at no words, and to 0 at twice a maximum. The lower of two scores counts.
    """

    READS = ()

    name: Literal["length"] = "length"
    version: int = 2
    min_words: int = Field(default=1, ge=0)
    max_words: int = Field(default=80, ge=1)
    max_sentences: int | None = Field(default=None, ge=1, exclude_if=lambda given: given is None)

    @model_validator(mode="after")
    def _can_be_met(self) -> "Length":
        if self.min_words > self.max_words:
            raise ValueError(f"min_words {self.min_words} is above max_words {self.max_words}: nothing can pass")
        return self

    def best_score(self, max_new_tokens: int) -> float:
        return min(1.0, max_new_tokens / self.min_words) if self.min_words else 1.0

    def __call__(self, rollout: Rollout) -> RuleScore:
        count = len(words(rollout.completion))
        if count < self.min_words:
            return RuleScore(count / self.min_words, f"{count} words, fewer than {self.min_words}")
        scores = [_at_most(count, self.max_words, "words")]
        if self.max_sentences is not None:
            scores.append(_at_most(len(sentences(rollout.completion)), self.max_sentences, "sentences"))
        return min(scores, key=lambda each: each.score or 0.0)


def _at_most(count: int, most: int, what: str) -> RuleScore:
    if count > most:
        return RuleScore(max(0.0, 2 - count / most), f"{count} {what}, more than {most}")
    return RuleScore(1.0, f"{count} {what}")


class Regex(Rule):
    """The reply matches `pattern` (or, with `forbid`, does not)."""

    READS = ()

    name: Literal["regex"] = "regex"
    version: int = 2
    pattern: RegexText
    forbid: bool = False

    def __call__(self, rollout: Rollout) -> RuleScore:
        found = regex.search(self.pattern, rollout.completion, timeout=SECONDS)
        return RuleScore(float((found is None) == self.forbid), f"found {found.group(0)!r}" if found else "not found")


class RequiredParts(Rule):
    """The share of `parts` (plain strings, case ignored) that the reply contains."""

    READS = ()

    name: Literal["required_parts"] = "required_parts"
    parts: tuple[str, ...] = Field(min_length=1)

    def __call__(self, rollout: Rollout) -> RuleScore:
        text = rollout.completion.casefold()
        missing = [part for part in self.parts if part.casefold() not in text]
        return RuleScore(
            1 - len(missing) / len(self.parts), f"missing: {', '.join(missing)}" if missing else "all there"
        )


class NoMarkdown(Rule):
    """The reply is plain text: no headings, lists, emphasis, links or code fences."""

    READS = ()

    name: Literal["no_markdown"] = "no_markdown"
    version: int = 2

    def __call__(self, rollout: Rollout) -> RuleScore:
        found = _MARKDOWN.search(rollout.completion)
        return RuleScore(0.0, f"markdown: {found.group(0).strip()!r}") if found else RuleScore(1.0, "plain text")
