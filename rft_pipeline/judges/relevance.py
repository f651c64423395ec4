"""`relevance`: does this prompt make this reply more likely than no prompt does?"""

from rft_pipeline.engines import Scorer, ScoreRequest, ScoreResult
from rft_pipeline.judges.likelihood import LikelihoodJudge, Measured, mean_logprob
from rft_pipeline.judges.protocols import RelevanceJudge
from rft_pipeline.rules import Rollout


class Relevance(LikelihoodJudge):
    """Mean token log-likelihood of the reply given its prompt minus given an empty one."""

    def __init__(self, config: RelevanceJudge, engine: Scorer) -> None:
        super().__init__(engine, config.squash)
        self.system = config.system
        self.alone = tuple(engine.chat_tokens(Rollout("", "").conversation(config.system)))

    def requests(self, rollout: Rollout) -> list[ScoreRequest]:
        reply = tuple(self.engine.reply_tokens(rollout.completion))
        given = tuple(self.engine.chat_tokens(rollout.conversation(self.system)))
        return [ScoreRequest(given, reply), ScoreRequest(self.alone, reply)]

    def measure(self, rollout: Rollout, results: list[ScoreResult]) -> Measured:
        given, alone = map(mean_logprob, results)
        return Measured(given - alone, f"{given:.3f} given the prompt, {alone:.3f} without")
