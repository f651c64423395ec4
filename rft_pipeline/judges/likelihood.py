"""What the likelihood protocols share: skip empty replies, score requests, turn nats into judgements."""

import math
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import ClassVar

from rft_pipeline.engines import Scorer, ScoreRequest, ScoreResult
from rft_pipeline.engines.base import Messages
from rft_pipeline.judges.base import Judge, Judged, Judgement, empty_reply, is_empty, measured, unscored
from rft_pipeline.judges.settings import Engines, PromptJudge, Scores
from rft_pipeline.judges.squash import Squash
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
        starts = range(0, len(rollouts), CHUNK)
        prepared: deque[list[list[ScoreRequest]]] = deque()
        """What was sent and is not judged yet: the engine may take parts in advance."""

        def parts() -> Iterator[list[ScoreRequest]]:
            for start in starts:
                prepared.append([self._wanted(rollout) for rollout in rollouts[start : start + CHUNK]])
                yield self._sent(prepared[-1])

        for start, found in zip(starts, self.engine.score_parts(parts()), strict=True):
            requests = prepared.popleft()
            results = dict(zip(self._sent(requests), found, strict=True))
            chunk = enumerate(zip(rollouts[start : start + CHUNK], requests, strict=True), start=start)
            yield [(place, self._judge(rollout, wanted, results)) for place, (rollout, wanted) in chunk]

    def _wanted(self, rollout: Rollout) -> list[ScoreRequest]:
        return [] if is_empty(rollout) else self.requests(rollout)

    def _sent(self, requests: Sequence[list[ScoreRequest]]) -> list[ScoreRequest]:
        """The distinct requests of the rollouts whose requests all fit the model's context."""
        return list(dict.fromkeys(each for wanted in requests if self._fits(wanted) for each in wanted))

    def _fits(self, wanted: list[ScoreRequest]) -> bool:
        return max(map(_length, wanted), default=0) <= self.engine.context

    def _tokens(self, messages: Messages) -> tuple[int, ...]:
        return tuple(self.engine.chat_tokens(messages))

    def _judge(
        self, rollout: Rollout, wanted: list[ScoreRequest], results: Mapping[ScoreRequest, ScoreResult]
    ) -> Judgement:
        if not wanted:
            return empty_reply()
        if not self._fits(wanted):
            longest = max(map(_length, wanted))
            return unscored("", f"{longest} tokens; the judge reads at most {self.engine.context}")
        nats, reason = self.measure(rollout, [results[request] for request in wanted])
        return measured(nats, self.squash, f"{nats:.4f} nats", reason, sum(map(_length, wanted)))


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
