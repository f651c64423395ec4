"""What the likelihood protocols share: skip empty replies, score requests, turn nats into judgements."""

import math
from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from typing import ClassVar

from rft_pipeline.engines import Scorer, ScoreRequest, ScoreResult
from rft_pipeline.engines.base import Messages
from rft_pipeline.judges.base import Judge, Judged, Judgement, empty_reply, is_empty, scored, unscored
from rft_pipeline.judges.settings import Engines, PromptJudge, Scores, Squash
from rft_pipeline.rules import Rollout

CHUNK = 64
"""Rollouts whose requests are scored together."""


class LikelihoodSettings(PromptJudge):
    """The settings of a protocol that turns log-likelihoods into a score."""

    ENGINE = "scorer"

    squash: Squash = Squash()

    def scores(self, served: Collection[str]) -> Scores:
        return Scores.INSIDE


class LikelihoodJudge:
    """Measures each reply by a fixed number of scored requests.

    A protocol says which requests a rollout needs and how to read their results. Empty replies are never sent, and
    requests that are the same for several rollouts are sent once.
    """

    def __init__(self, engine: Scorer, squash: Squash) -> None:
        self.engine = engine
        self.squash = squash
        self.tokens = lru_cache(maxsize=2 * CHUNK)(self._tokens)

    def requests(self, rollout: Rollout) -> list[ScoreRequest]:
        raise NotImplementedError

    def measure(self, rollout: Rollout, results: list[ScoreResult]) -> tuple[float, str]:
        """Nats and the reason in words."""
        raise NotImplementedError

    def score(self, rollouts: Sequence[Rollout]) -> Iterator[Judged]:
        for start in range(0, len(rollouts), CHUNK):
            yield list(enumerate(self._score(rollouts[start : start + CHUNK]), start=start))

    def _score(self, rollouts: Sequence[Rollout]) -> list[Judgement]:
        requests = [[] if is_empty(rollout) else self.requests(rollout) for rollout in rollouts]
        fitting = [wanted if max(map(_length, wanted), default=0) <= self.engine.context else [] for wanted in requests]
        sent = list(dict.fromkeys(request for wanted in fitting for request in wanted))
        results = dict(zip(sent, self.engine.score(sent), strict=True))
        return [
            self._judge(rollout, wanted, [results[request] for request in fits])
            for rollout, wanted, fits in zip(rollouts, requests, fitting, strict=True)
        ]

    def _tokens(self, messages: Messages) -> tuple[int, ...]:
        return tuple(self.engine.chat_tokens(messages))

    def _judge(self, rollout: Rollout, wanted: list[ScoreRequest], results: list[ScoreResult]) -> Judgement:
        if not wanted:
            return empty_reply()
        if not results:
            longest = max(map(_length, wanted))
            return unscored("", f"{longest} tokens; the judge reads at most {self.engine.context}")
        nats, reason = self.measure(rollout, results)
        return scored(self.squash.score(nats), f"{nats:.4f} nats", reason, sum(map(_length, wanted)))


class DifferenceSettings(LikelihoodSettings):
    """The settings of a protocol that weighs one text after two conversations, those that `conversations` returns."""

    SIDES: ClassVar[tuple[str, str]]
    """The two conversations in words, for the reason."""

    def weighed(self, rollout: Rollout) -> str:
        """The text whose likelihood is taken."""
        return rollout.completion

    def make(self, engines: Engines) -> Judge:
        return Difference(self, engines.scorer(self.by))


class Difference(LikelihoodJudge):
    """Mean token log-likelihood of a text after the first of two conversations minus after the second."""

    def __init__(self, config: DifferenceSettings, engine: Scorer) -> None:
        super().__init__(engine, config.squash)
        self.config = config

    def requests(self, rollout: Rollout) -> list[ScoreRequest]:
        text = tuple(self.engine.reply_tokens(self.config.weighed(rollout)))
        return [ScoreRequest(self.tokens(messages), text) for messages in self.config.conversations(rollout)]

    def measure(self, rollout: Rollout, results: list[ScoreResult]) -> tuple[float, str]:
        first, second = map(mean_logprob, results)
        one, other = self.config.SIDES
        return first - second, f"{first:.3f} {one}, {second:.3f} {other}"


def _length(request: ScoreRequest) -> int:
    return len(request.prefix) + len(request.continuation)


def mean_logprob(result: ScoreResult) -> float:
    """Mean log-likelihood of a continuation, nats per token; NaN for an empty one."""
    return sum(result.token_logprobs) / len(result.token_logprobs) if result.token_logprobs else math.nan
