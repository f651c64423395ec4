"""`reward_model`: the scalar head of a sequence classifier, read on the conversation."""

from collections.abc import Iterator, Sequence

from rft_pipeline.engines import Rewarder
from rft_pipeline.judges.base import Judged, empty_reply, is_empty, scored, squash
from rft_pipeline.judges.protocols import RewardModelJudge
from rft_pipeline.rules import Rollout

CHUNK = 64
"""Rollouts asked about at once."""


class RewardModel:
    """sigmoid((reward − offset) / scale)."""

    def __init__(self, config: RewardModelJudge, rewarder: Rewarder) -> None:
        self.how = config.squash
        self.rewarder = rewarder

    def score(self, rollouts: Sequence[Rollout]) -> Iterator[Judged]:
        for start in range(0, len(rollouts), CHUNK):
            chunk = rollouts[start : start + CHUNK]
            shown = [rollout for rollout in chunk if not is_empty(rollout)]
            asked = [(*rollout.conversation(), ("assistant", rollout.completion)) for rollout in shown]
            rewards = iter(self.rewarder.reward(asked))
            judgements = []
            for rollout in chunk:
                if is_empty(rollout):
                    judgements.append(empty_reply())
                else:
                    reward = next(rewards)
                    judgements.append(scored(squash(reward, self.how), f"reward {reward:.4f}", ""))
            yield list(enumerate(judgements, start=start))
