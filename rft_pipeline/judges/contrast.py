"""`contrast`: is this rather what the good persona would say, or the bad one?"""

from rft_pipeline.engines import Scorer, ScoreRequest, ScoreResult
from rft_pipeline.judges.likelihood import LikelihoodJudge, Measured, mean_logprob
from rft_pipeline.judges.protocols import ContrastJudge
from rft_pipeline.rules import Rollout


class Contrast(LikelihoodJudge):
    """Mean token log-likelihood of the reply under the positive persona minus under the negative one."""

    def __init__(self, config: ContrastJudge, engine: Scorer) -> None:
        super().__init__(engine, config.squash)
        self.personas = (config.positive, config.negative)

    def requests(self, rollout: Rollout) -> list[ScoreRequest]:
        reply = tuple(self.engine.reply_tokens(rollout.completion))
        return [
            ScoreRequest(tuple(self.engine.chat_tokens(rollout.conversation(persona))), reply)
            for persona in self.personas
        ]

    def measure(self, rollout: Rollout, results: list[ScoreResult]) -> Measured:
        positive, negative = map(mean_logprob, results)
        return Measured(positive - negative, f"{positive:.3f} as the positive, {negative:.3f} as the negative persona")
