"""`reward_model`: the scalar head of a sequence classifier, read on the conversation."""

from collections.abc import Collection, Iterator, Sequence
from typing import Literal

from rft_pipeline.engines import Rewarder
from rft_pipeline.engines.base import Messages
from rft_pipeline.judges.base import Judge, Judged, Judgement, empty_reply, is_empty, measured
from rft_pipeline.judges.settings import Engines, PromptJudge, Scores
from rft_pipeline.judges.squash import Squash
from rft_pipeline.rules import Rollout

CHUNK = 64
"""Rollouts whose rewards are read together."""


class RewardModelJudge(PromptJudge):
    """The reward of a sequence classifier, as a score."""

    VERSION = 2
    ENGINE = "rewarder"

    protocol: Literal["reward_model"]
    squash: Squash = Squash(scale=1.0)

    def make(self, engines: Engines) -> Judge:
        return RewardModel(self, engines.rewarder(self.by))

    def scores(self, served: Collection[str]) -> Scores:
        return Scores.INSIDE

    def conversations(self, rollout: Rollout) -> tuple[Messages, ...]:
        return ((*self.seen(rollout).conversation(), ("assistant", rollout.completion)),)


class RewardModel:
    """sigmoid((reward − offset) / scale)."""

    def __init__(self, config: RewardModelJudge, rewarder: Rewarder) -> None:
        self.config = config
        self.rewarder = rewarder

    def score(self, rollouts: Sequence[Rollout]) -> Iterator[Judged]:
        for start in range(0, len(rollouts), CHUNK):
            chunk = rollouts[start : start + CHUNK]
            shown = [rollout for rollout in chunk if not is_empty(rollout)]
            rewards = iter(self.rewarder.reward([self.config.conversations(rollout)[0] for rollout in shown]))
            judgements = [empty_reply() if is_empty(rollout) else self._judge(next(rewards)) for rollout in chunk]
            yield list(enumerate(judgements, start=start))

    def _judge(self, reward: float) -> Judgement:
        return measured(reward, self.config.squash, f"reward {reward:.4f}", "")
