"""`contrast`: would the good persona rather say this, or the bad one?"""

from collections.abc import Iterable
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from rft_pipeline.engines.base import Messages
from rft_pipeline.judges.likelihood import DifferenceSettings
from rft_pipeline.rules import Rollout
from rft_pipeline.rules.words import folded_words


class ContrastJudge(DifferenceSettings):
    """Mean token log-likelihood of the reply under a positive persona minus under a negative one."""

    VERSION = 2
    SIDES = ("as the positive", "as the negative persona")
    WORDING: ClassVar = {
        "positive": "the system turn of a persona that writes good replies",
        "negative": "the system turn of a persona that writes bad replies",
    }

    protocol: Literal["contrast"]
    positive: str = Field(min_length=1)
    """The system turn of a persona that writes good replies."""
    negative: str = Field(min_length=1)
    """The same for bad replies."""

    @classmethod
    def texts(cls) -> dict[str, frozenset[str]]:
        return {"positive": frozenset(), "negative": frozenset()}

    def conversations(self, rollout: Rollout) -> tuple[Messages, Messages]:
        positive, negative = (self.filled(text, rollout) for text in (self.positive, self.negative))
        seen = self.seen(rollout)
        return seen.conversation(positive), seen.conversation(negative)

    def faults(self) -> Iterable[str]:
        if folded_words(self.positive) == folded_words(self.negative):
            yield (
                f"personas {self.positive!r} and {self.negative!r} differ only in case or punctuation; "
                "describe two opposite ways to reply"
            )

    @model_validator(mode="after")
    def _personas_differ(self) -> Self:
        if self.positive.strip() == self.negative.strip():
            raise ValueError("positive and negative persona are the same text: every reply would score alike")
        return self
