"""Rules about the words that a reply takes from its prompt."""

from difflib import SequenceMatcher
from itertools import takewhile
from typing import Any, Literal

from pydantic import Field, model_validator

from rft_pipeline.rules.base import Column, ColumnName, Rollout, Rule, RuleScore
from rft_pipeline.rules.content_words import LanguageCode, plain_words, stemmed, stop_words
from rft_pipeline.rules.values import text_of
from rft_pipeline.rules.words import words

NAMED = 5
"""Words that a reason names."""
QUOTED = 20
"""Words of a run that a reason quotes."""


class GroundedWords(Rule):
    """The share of the reply's content words that are in its prompt or system turn, or in the prompt column `column`.

    A content word is any number and any word but the stop words of `language`. Words with the same stem are the same
    word ("lamps", "lamp"), and in English so are numbers in digits and in one word ("3", "three", but not "28" and
    "twenty-eight"). A word that the reply repeats counts each time. A reply without content words scores 0. The stop
    words are those of stopwords-iso, a long list: in English, "order", "number" and "problem" are stop words.
    """

    READS = ("column",)

    name: Literal["grounded_words"] = "grounded_words"
    version: int = 2
    language: LanguageCode = "en"
    column: ColumnName | None = None

    def columns(self) -> tuple[Column, ...]:
        if self.column is None:
            return ()
        allowed = "a text or a number, or a list of them; none of them empty"
        return (Column("column", self.column, _is_source, "no text to take words from", allowed),)

    def __call__(self, rollout: Rollout) -> RuleScore:
        texts = [rollout.given] if self.column is None else _texts(rollout.fields.get(self.column))
        if None in texts:
            return RuleScore(None, f"no text in the prompt's column {self.column!r}")
        known = {stem for _, stem in stemmed("\n".join(map(str, texts)), self.language)}
        content = stemmed(rollout.completion, self.language, stop_words(self.language))
        if not content:
            return RuleScore(0.0, "no content words")
        new = [word for word, stem in content if stem not in known]
        reason = f"{len(content) - len(new)} of {len(content)} content words are in the {self.column or 'prompt'}"
        if named := list(dict.fromkeys(new)):
            reason += f"; not {', '.join(named[:NAMED])}{', …' if len(named) > NAMED else ''}"
        return RuleScore(1 - len(new) / len(content), reason)


class CopiedRun(Rule):
    """The reply does not copy its prompt or system turn word for word.

    1 while the longest run of words that both have is at most `free` words, 0 at `most` words or more, linear between.
    With `beginning`, the run that counts is that of the first words of the user's last turn with which the reply
    begins. Case and punctuation do not count.
    """

    READS = ()

    name: Literal["copied_run"] = "copied_run"
    free: int = Field(default=3, ge=0)
    most: int = Field(default=6, ge=1)
    beginning: bool = Field(default=False, exclude_if=lambda given: given is False)

    @model_validator(mode="after")
    def _falls(self) -> "CopiedRun":
        if self.most <= self.free:
            raise ValueError(f"most {self.most} must be above free {self.free}")
        return self

    def __call__(self, rollout: Rollout) -> RuleScore:
        reply = plain_words(rollout.completion)
        if self.beginning:
            pairs = zip(plain_words(rollout.last_turn or rollout.prompt), reply, strict=False)
            start, size = 0, sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
            none, some = "another first word than the prompt", f"first word{'s' if size > 1 else ''} of the prompt"
        else:
            run = SequenceMatcher(None, plain_words(rollout.given), reply, autojunk=False).find_longest_match()
            start, size = run.b, run.size
            none, some = "no word of the prompt", f"word{'s' if size > 1 else ''} in a row from the prompt"
        score = min(1.0, max(0.0, (self.most - size) / (self.most - self.free)))
        if not size:
            return RuleScore(score, none)
        quoted = words(rollout.completion)[start : start + min(size, QUOTED)]
        return RuleScore(score, f"{size} {some}: {' '.join(quoted)!r}{' …' if size > QUOTED else ''}")


def _texts(value: Any) -> list[str | None]:
    """The texts of a column; None stands for one that is missing or empty."""
    return [text_of(each) for each in value] if isinstance(value, list) and value else [text_of(value)]


def _is_source(value: Any) -> bool:
    return None not in _texts(value)
