"""`recall`: does this reply make its prompt more likely than an empty reply does?

The other direction of `relevance`: it measures whether a reply says what its prompt is about, e.g. a subject line.
"""

from typing import ClassVar, Literal

from pydantic import Field

from rft_pipeline.engines.base import Messages
from rft_pipeline.judges.likelihood import DifferenceSettings
from rft_pipeline.judges.untrusted import fenced
from rft_pipeline.rules import Rollout


class RecallJudge(DifferenceSettings):
    """Mean token log-likelihood of the prompt given the reply minus given an empty reply.

    The judge sees the instruction and, between fences, the reply; the prompt is scored as its answer. The
    conversation with the empty reply is the same for all prompts, so the engine computes it once a batch; replies to
    one prompt share the whole request. Conversations with different replies share nothing.
    """

    VERSION = 1
    SIDES = ("given the reply", "given an empty reply")
    WORDING: ClassVar = {"instruction": "the line above a reply that asks a model to write the prompt that it answers"}

    protocol: Literal["recall"]
    instruction: str = Field(default="Write the message that this text answers or summarises:", min_length=1)

    @classmethod
    def texts(cls) -> dict[str, frozenset[str]]:
        return {"instruction": frozenset()}

    def conversations(self, rollout: Rollout) -> tuple[Messages, Messages]:
        instruction = self.filled(self.instruction, rollout)
        return _showing(instruction, rollout.completion), _showing(instruction, "")

    def weighed(self, rollout: Rollout) -> str:
        return self.seen(rollout).prompt


def _showing(instruction: str, reply: str) -> Messages:
    return (("user", f"{instruction}\n{fenced(reply, max_chars=len(reply))}"),)
