"""`python`: a judge of the user's own, a class with two hooks.

class Brief:
    def messages(self, rollout):        # what to ask: (role, text) pairs; `fenced` shows an untrusted text
    def verdict(self, answer):          # a score in [0, 1], or (score, reason); an exception leaves it unscored
"""

from typing import Any

from rft_pipeline.engines import Asker, ChatReply
from rft_pipeline.engines.base import Messages
from rft_pipeline.errors import ConfigError
from rft_pipeline.judges.asking import SingleAsking
from rft_pipeline.judges.base import Judgement, scored, unscored
from rft_pipeline.protocols import PythonJudge
from rft_pipeline.rules import Rollout


class Python(SingleAsking):
    """Asks what `messages` says, and scores what `verdict` makes of the answer."""

    def __init__(self, config: PythonJudge, asker: Asker) -> None:
        super().__init__(asker, config.max_tokens)
        made = config.judge.load()
        try:
            self.judge: Any = made(**config.settings)
        except TypeError as error:
            raise ConfigError(f"judge {config.judge.path}: settings {sorted(config.settings)}: {error}") from error

    def messages(self, rollout: Rollout) -> Messages | None:
        return tuple((str(role), str(text)) for role, text in self.judge.messages(rollout))

    def verdict(self, reply: ChatReply) -> Judgement:
        try:
            found = self.judge.verdict(reply.text)
            score, reason = found if isinstance(found, tuple) else (found, "")
            return scored(float(score), reply.text, str(reason))
        except Exception as error:  # whatever the user's code raises, this answer could not be read
            return unscored(reply.text, f"{type(error).__name__}: {error}")
