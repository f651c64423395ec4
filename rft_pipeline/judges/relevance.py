"""`relevance`: does this prompt make this reply more likely than an empty prompt does?"""

from typing import ClassVar, Literal

from rft_pipeline.engines.base import Messages
from rft_pipeline.judges.likelihood import DifferenceSettings
from rft_pipeline.rules import Rollout


class RelevanceJudge(DifferenceSettings):
    """Mean token log-likelihood of the reply given its prompt minus given an empty one."""

    VERSION = 2
    SIDES = ("given the prompt", "without")
    WORDING: ClassVar = {"system": "the system turn before the prompt"}

    protocol: Literal["relevance"]
    system: str = "You are a helpful support agent."

    @classmethod
    def texts(cls) -> dict[str, frozenset[str]]:
        return {"system": frozenset()}

    def conversations(self, rollout: Rollout) -> tuple[Messages, Messages]:
        system = self.filled(self.system, rollout)
        return self.seen(rollout).conversation(system), Rollout("", "").conversation(system)
