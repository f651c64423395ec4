"""`rule`: a plain function decides."""

from collections.abc import Sequence

from rft_pipeline.judges.base import Judgement, scored, unscored
from rft_pipeline.rubric import RuleJudge
from rft_pipeline.rules import Rollout


class Rule:
    """Asks the criterion's rule; needs no engine."""

    def __init__(self, config: RuleJudge) -> None:
        self.rule = config.rule

    def score(self, rollouts: Sequence[Rollout]) -> list[Judgement]:
        verdicts = [self.rule(rollout) for rollout in rollouts]
        return [
            unscored("", verdict.reason) if verdict.score is None else scored(verdict.score, "", verdict.reason)
            for verdict in verdicts
        ]
