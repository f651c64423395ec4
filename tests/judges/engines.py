"""Engines for the tests of judges: one that writes down what it is asked, one that answers what it is told."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rft_pipeline.engines import ChatReply, ChatRequest, ScoreRequest, ScoreResult
from rft_pipeline.engines.answers import LocalAsker
from rft_pipeline.engines.base import Messages
from rft_pipeline.engines.transformers import TransformersEngine
from rft_pipeline.errors import EngineError
from rft_pipeline.judges import Judge, Judgement
from rft_pipeline.rules import Rollout


class OneEngine:
    """`judges.Engines` with one engine behind every judge; with none, asking for it fails the test."""

    def __init__(self, engine: Any = None) -> None:
        self.engine = engine

    def scorer(self, by: str) -> Any:
        assert self.engine is not None, "no engine is needed"
        return self.engine

    asker = rewarder = scorer


def judgements(judge: Judge, rollouts: Sequence[Rollout]) -> list[Judgement]:
    """What a judge says of each rollout, in order."""
    found = {place: judgement for together in judge.score(rollouts) for place, judgement in together}
    assert sorted(found) == list(range(len(rollouts)))
    return [found[place] for place in range(len(rollouts))]


class Counting:
    """Passes everything on to a real engine, writes the requests down, and fails after `limit` of them."""

    def __init__(self, engine: TransformersEngine, limit: int | None = None) -> None:
        self.engine = engine
        self.batch_size = engine.batch_size
        self.context = engine.context
        self.limit = limit
        self.asked: list[ScoreRequest] = []

    def chat_tokens(self, messages: Messages) -> list[int]:
        return self.engine.chat_tokens(messages)

    def text_tokens(self, text: str) -> list[int]:
        return self.engine.text_tokens(text)

    def opening_tokens(self, text: str) -> list[int]:
        return self.engine.opening_tokens(text)

    def reply_tokens(self, reply: str) -> list[int]:
        return self.engine.reply_tokens(reply)

    @property
    def control_tokens(self) -> frozenset[str]:
        return self.engine.control_tokens

    def score(self, requests: Sequence[ScoreRequest]) -> list[ScoreResult]:
        if self.limit is not None and len(self.asked) + len(requests) > self.limit:
            raise EngineError("the engine is gone")
        self.asked += requests
        return self.engine.score(requests)

    def generate(self, requests: Any, sampling: Any) -> Any:
        return self.engine.generate(requests, sampling)

    ask = LocalAsker.ask
    _score_words = LocalAsker._score_words
    score_parts = LocalAsker.score_parts


class Answering(Counting):
    """Tokenizes with a real engine and answers every request with one log-prob."""

    def __init__(self, engine: TransformersEngine, logprob: float) -> None:
        super().__init__(engine)
        self.logprob = logprob

    def score(self, requests: Sequence[ScoreRequest]) -> list[ScoreResult]:
        self.asked += requests
        return [
            ScoreResult([self.logprob] * len(each.continuation), [self.logprob] * len(each.candidates))
            for each in requests
        ]


class Told:
    """Answers every question with what `answer` makes of its text, last question first; `None` is a failed call."""

    control_tokens: frozenset[str] = frozenset()

    def __init__(self, answer: Callable[[str], str | dict[str, float] | None]) -> None:
        self.answer = answer
        self.asked: list[ChatRequest] = []

    def ask(self, requests: Sequence[ChatRequest]) -> Iterator[ChatReply]:
        self.asked += requests
        for request in reversed(requests):
            answer = self.answer(request.messages[-1][1])
            if answer is None:
                yield ChatReply(request.request_id, "", error="HTTP 500: out of order")
            elif isinstance(answer, dict):
                yield ChatReply(request.request_id, "", words=answer, prompt_tokens=10, tokens=1, cost=0.5)
            else:
                yield ChatReply(request.request_id, answer, prompt_tokens=10, tokens=4, cost=0.5)
