"""A rule about how hard a reply is to read."""

from typing import Literal

from pydantic import Field, model_validator

from rft_pipeline.rules.base import Rollout, Rule, RuleScore
from rft_pipeline.rules.words import sentence_ends, words


class Readability(Rule):
    """The reply reads at a school grade between `min_grade` and `max_grade`.

    The grade is the Automated Readability Index (Senter and Smith 1967), from the lengths of words and sentences:
    4.71 · characters a word + 0.5 · words a sentence − 21.43. It needs no dictionary of syllables and is meant for
    English prose. Outside the bounds the score falls linearly to 0 over `falls_over` grades. A text
    without sentence ends is one long sentence. An empty reply scores 0.
    """

    READS = ()

    name: Literal["readability"] = "readability"
    version: int = 2
    min_grade: float | None = None
    max_grade: float | None = None
    falls_over: float = Field(default=5.0, gt=0)

    @model_validator(mode="after")
    def _can_be_met(self) -> "Readability":
        if self.min_grade is None and self.max_grade is None:
            raise ValueError("give min_grade, max_grade or both: without a bound every reply passes")
        if self.min_grade is not None and self.max_grade is not None and self.min_grade > self.max_grade:
            raise ValueError(f"min_grade {self.min_grade} is above max_grade {self.max_grade}: nothing can pass")
        return self

    def __call__(self, rollout: Rollout) -> RuleScore:
        found = words(rollout.completion)
        if not found:
            return RuleScore(0.0, "holds no words")
        sentences = max(1, sentence_ends(rollout.completion))
        grade = 4.71 * sum(map(len, found)) / len(found) + 0.5 * len(found) / sentences - 21.43
        low = grade if self.min_grade is None else self.min_grade
        high = grade if self.max_grade is None else self.max_grade
        outside = max(low - grade, grade - high, 0.0)
        return RuleScore(max(0.0, 1 - outside / self.falls_over), f"grade {grade:.1f}")
