"""`graded`: a grade from 1 to k, each described, as the expected grade by the log-probs or the one of a JSON answer."""

import math
import re
from collections.abc import Collection
from typing import Literal

from pydantic import Field

from rft_pipeline.engines import Asker, ChatReply
from rft_pipeline.engines.base import Messages
from rft_pipeline.judges.answers import UnreadableError, as_text, own_object, own_word
from rft_pipeline.judges.asking import AskingSettings, SingleAsking, schema_of, shown_to
from rft_pipeline.judges.base import Judge, Judgement, scored
from rft_pipeline.judges.settings import Engines, Scores
from rft_pipeline.rules import Rollout


class GradedJudge(AskingSettings):
    """A grade from 1 to k, each described: the expected grade by the log-probs, or the one of a JSON answer."""

    VERSION = 3
    TEMPLATE = "graded.txt"
    SLOTS = frozenset({"prompt", "reply", "question", "grades", "answer"})

    protocol: Literal["graded"]
    grades: tuple[str, ...] = Field(min_length=2, max_length=9)
    """What a reply of grade 1, 2, … k is like, the worst first."""

    @classmethod
    def texts(cls) -> dict[str, frozenset[str]]:
        return {**super().texts(), "grades": frozenset()}

    def make(self, engines: Engines) -> Judge:
        return Graded(self, engines.asker(self.by))

    @property
    def levels(self) -> tuple[str, ...]:
        return self.grades

    def scores(self, served: Collection[str]) -> Scores:
        if self.reads_logprobs(served):
            return Scores.INSIDE
        return Scores.ENDS if len(self.grades) == 2 else Scores.ANY


class Graded(SingleAsking):
    """(grade − 1) / (k − 1), so that the worst grade is 0 and the best is 1."""

    def __init__(self, config: GradedJudge, asker: Asker) -> None:
        super().__init__(asker, config.max_tokens)
        self.config = config
        self.grades = tuple(str(grade) for grade in range(1, len(config.grades) + 1))
        if config.answer == "json":
            self.schema = schema_of(grade={"type": "integer", "minimum": 1, "maximum": len(self.grades)})
            self.how = f'Answer with one JSON object: {{"reason": "...", "grade": 1 to {len(self.grades)}}}.'
        else:
            self.words = self.grades
            self.how = f"Answer with the grade alone, a number from 1 to {len(self.grades)}."

    def messages(self, rollout: Rollout) -> Messages:
        described = "\n".join(f"{grade}: {text}" for grade, text in zip(self.grades, self.config.grades, strict=True))
        return self.asked_of(rollout, self.config, self.how, grades=described)

    def read(self, rollout: Rollout, reply: ChatReply) -> Judgement:
        shown = shown_to(self.config, rollout)
        if self.config.answer == "json":
            return self._of_json(reply, shown)
        if reply.words is not None:
            return self._expected([reply.words[grade] for grade in self.grades])
        bare = re.sub(rf"(\d)\s*/\s*{len(self.grades)}\b", r"\1", reply.text)  # 2/3 is grade 2
        return self._score(own_word(bare, self.grades, shown), reply.text, "")

    def _expected(self, logprobs: list[float]) -> Judgement:
        top = max(logprobs)
        weights = [math.exp(logprob - top) for logprob in logprobs]
        grade = sum(place * weight for place, weight in enumerate(weights)) / sum(weights)
        raw = ", ".join(f"{name}: {logprob:.3f}" for name, logprob in zip(self.grades, logprobs, strict=True))
        return scored(grade / (len(weights) - 1), f"{raw} nats", f"expected grade {grade + 1:.2f}")

    def _of_json(self, reply: ChatReply, shown: tuple[str, ...]) -> Judgement:
        found = own_object(reply.text, ("reason", "grade"), shown, cut=reply.cut_at > 0)
        return self._score(str(found["grade"]), reply.text, as_text(found.get("reason")))

    def _score(self, grade: str, raw: str, reason: str) -> Judgement:
        if grade not in self.grades:
            raise UnreadableError(f"its grade is not one of 1 to {len(self.grades)}")
        return scored((int(grade) - 1) / (len(self.grades) - 1), raw, reason)
