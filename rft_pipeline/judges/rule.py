"""`rule`: a plain function decides."""

from collections.abc import Iterator, Sequence

from rft_pipeline.judges.base import Judged, scored, unscored
from rft_pipeline.judges.protocols import RuleJudge
from rft_pipeline.rules import Rollout


class Rule:
    """Asks the criterion's rule; needs no engine."""

    def __init__(self, config: RuleJudge) -> None:
        self.rule = config.rule

    def score(self, rollouts: Sequence[Rollout]) -> Iterator[Judged]:
        for place, rollout in enumerate(rollouts):
            score, reason = self.rule.decide(rollout)
            yield [(place, unscored("", reason) if score is None else scored(score, "", reason))]
