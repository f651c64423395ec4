"""What the likelihood protocols share: skip empty replies, score requests, turn nats into judgements."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rft_pipeline.engines import Scorer, ScoreRequest, ScoreResult
from rft_pipeline.judges.base import Judged, Judgement, empty_reply, is_empty, scored, squash, unscored
from rft_pipeline.judges.protocols import Squash
from rft_pipeline.rules import Rollout

CHUNK = 64
"""Rollouts whose requests are scored together."""


@dataclass(frozen=True)
class Measured:
    """What a protocol found out about one reply."""

    nats: float
    reason: str


class LikelihoodJudge:
    """Measures each reply by a fixed number of scored requests.

    A protocol says which requests a rollout needs and how to read their results; empty replies are never sent.
    """

    def __init__(self, engine: Scorer, how: Squash) -> None:
        self.engine = engine
        self.how = how

    def requests(self, rollout: Rollout) -> list[ScoreRequest]:
        raise NotImplementedError

    def measure(self, rollout: Rollout, results: list[ScoreResult]) -> Measured:
        raise NotImplementedError

    def score(self, rollouts: Sequence[Rollout]) -> Iterator[Judged]:
        for start in range(0, len(rollouts), CHUNK):
            yield list(enumerate(self._score(rollouts[start : start + CHUNK]), start=start))

    def _score(self, rollouts: Sequence[Rollout]) -> list[Judgement]:
        requests = [[] if is_empty(rollout) else self.requests(rollout) for rollout in rollouts]
        fitting = [wanted if max(map(_length, wanted), default=0) <= self.engine.context else [] for wanted in requests]
        results = iter(self.engine.score([request for wanted in fitting for request in wanted]))
        return [
            self._judge(rollout, wanted, [next(results) for _ in sent])
            for rollout, wanted, sent in zip(rollouts, requests, fitting, strict=True)
        ]

    def _judge(self, rollout: Rollout, wanted: list[ScoreRequest], results: list[ScoreResult]) -> Judgement:
        if not wanted:
            return empty_reply()
        if not results:
            longest = max(map(_length, wanted))
            return unscored("", f"{longest} tokens; the judge reads at most {self.engine.context}")
        measured = self.measure(rollout, results)
        tokens = sum(map(_length, wanted))
        return scored(squash(measured.nats, self.how), f"{measured.nats:.4f} nats", measured.reason, tokens)


def _length(request: ScoreRequest) -> int:
    return len(request.prefix) + len(request.continuation)


def mean_logprob(result: ScoreResult) -> float:
    """Mean log-likelihood of a continuation, nats a token."""
    return sum(result.token_logprobs) / len(result.token_logprobs)
