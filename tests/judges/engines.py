"""Engines for the tests of judges: one that writes down what it is asked, one that answers what it is told."""

from collections.abc import Sequence

from rft_pipeline.engines import Scorer, ScoreRequest, ScoreResult
from rft_pipeline.engines.base import Messages
from rft_pipeline.errors import EngineError


class Counting:
    """Passes everything on to a real engine, writes the requests down, and fails after `limit` of them."""

    def __init__(self, engine: Scorer, limit: int | None = None) -> None:
        self.engine = engine
        self.limit = limit
        self.asked: list[ScoreRequest] = []

    def chat_tokens(self, messages: Messages) -> list[int]:
        return self.engine.chat_tokens(messages)

    def text_tokens(self, text: str) -> list[int]:
        return self.engine.text_tokens(text)

    def score(self, requests: Sequence[ScoreRequest]) -> list[ScoreResult]:
        if self.limit is not None and len(self.asked) + len(requests) > self.limit:
            raise EngineError("the engine is gone")
        self.asked += requests
        return self.engine.score(requests)


class Answering(Counting):
    """Tokenizes with a real engine and answers every request with one log-prob."""

    def __init__(self, engine: Scorer, logprob: float) -> None:
        super().__init__(engine)
        self.logprob = logprob

    def score(self, requests: Sequence[ScoreRequest]) -> list[ScoreResult]:
        self.asked += requests
        return [
            ScoreResult([self.logprob] * len(each.continuation), [self.logprob] * len(each.candidates))
            for each in requests
        ]
