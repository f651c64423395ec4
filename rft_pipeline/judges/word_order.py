"""`word_order`: are the reply's words likelier in their order than shuffled? Keywords have no order to lose."""

import random
from typing import ClassVar, Literal

from pydantic import Field

from rft_pipeline.engines import Scorer, ScoreRequest, ScoreResult
from rft_pipeline.fingerprint import seed_of
from rft_pipeline.judges.base import Judge
from rft_pipeline.judges.likelihood import LikelihoodJudge, LikelihoodSettings
from rft_pipeline.judges.settings import Engines
from rft_pipeline.rules import Rollout


class WordOrderJudge(LikelihoodSettings):
    """Log-likelihood of the reply minus the mean of shuffled replies, in nats per word, all given the prompt.

    It sees fluency apart from content, since both sides have the same words. A reply of one word, or of one word
    repeated, has no other order and gets 0 nats. All requests for a prompt share its tokens.
    """

    VERSION = 1
    WORDING: ClassVar = {"system": "the system turn before the prompt"}

    protocol: Literal["word_order"]
    system: str = "You are a helpful support agent."
    shuffles: int = Field(default=3, ge=1)
    """Shuffled replies, drawn by a seed of the reply's words."""

    @classmethod
    def texts(cls) -> dict[str, frozenset[str]]:
        return {"system": frozenset()}

    def make(self, engines: Engines) -> Judge:
        return WordOrder(self, engines.scorer(self.by))


class WordOrder(LikelihoodJudge):
    """Scores the reply and its shuffled words after the same conversation."""

    def __init__(self, config: WordOrderJudge, engine: Scorer) -> None:
        super().__init__(engine, config.squash)
        self.config = config

    def requests(self, rollout: Rollout) -> list[ScoreRequest]:
        system = self.config.filled(self.config.system, rollout)
        prefix = self.tokens(self.config.seen(rollout).conversation(system))
        return [
            ScoreRequest(prefix, tuple(self.engine.reply_tokens(text)))
            for text in (rollout.completion, *shuffled(rollout.completion, self.config.shuffles))
        ]

    def measure(self, rollout: Rollout, results: list[ScoreResult]) -> tuple[float, str]:
        words = len(rollout.completion.split())
        own, *others = (sum(result.token_logprobs) / words for result in results)
        mean = sum(others) / len(others)
        return own - mean, f"{own:.3f} nats per word as written, {mean:.3f} shuffled"


def shuffled(reply: str, count: int) -> list[str]:
    """The reply's words in `count` other orders; the reply itself where there is no other order."""
    words = reply.split()
    if len(set(words)) < 2:
        return [reply] * count
    draw = random.Random(seed_of(0, "word order", reply))
    found: list[str] = []
    while len(found) < count:
        order = draw.sample(words, len(words))
        if order != words:
            found.append(" ".join(order))
    return found
