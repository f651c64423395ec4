"""`python`: a judge of the user's own, a class with two hooks.

class Brief:
    def messages(self, rollout):        # what to ask: (role, text) pairs; `fenced` shows an untrusted text
    def verdict(self, answer):          # a score in [0, 1], or (score, reason)

`own_object` and `own_word` (from `rft_pipeline.judges`) read an answer without taking a quoted verdict for the judge's.
An exception in a hook leaves that reply unscored, with the exception as the reason.
"""

from typing import Any

from rft_pipeline.engines import Asker, ChatReply
from rft_pipeline.engines.base import Messages
from rft_pipeline.errors import ConfigError
from rft_pipeline.judges.asking import SingleAsking
from rft_pipeline.judges.base import Judgement, scored
from rft_pipeline.judges.protocols import PythonJudge
from rft_pipeline.judges.verdict import NoVerdictError
from rft_pipeline.rules import Rollout


def own_judge(config: PythonJudge) -> Any:
    """The user's judge, made with its settings. Raises `ConfigError` when it cannot be, or lacks a hook."""
    made = config.judge.load()
    try:
        judge = made(**config.settings)
    except Exception as error:  # whatever the user's code raises: no reply can be judged
        raise ConfigError(
            f"judge {config.judge.path}: settings {sorted(config.settings)}: {type(error).__name__}: {error}"
        ) from error
    if lacking := [hook for hook in ("messages", "verdict") if not callable(getattr(judge, hook, None))]:
        raise ConfigError(f"judge {config.judge.path}: has no {' and no '.join(lacking)}; both hooks are needed")
    return judge


class Python(SingleAsking):
    """Asks what `messages` says, and scores what `verdict` makes of the answer."""

    def __init__(self, config: PythonJudge, asker: Asker) -> None:
        super().__init__(asker, config.max_tokens)
        self.judge = own_judge(config)

    def messages(self, rollout: Rollout) -> Messages | None:
        try:
            asked = tuple((str(role), str(text)) for role, text in self.judge.messages(rollout))
        except Exception as error:  # whatever the user's code raises, this reply cannot be asked about
            raise NoVerdictError(f"messages: {type(error).__name__}: {error}") from error
        if not asked:
            raise NoVerdictError("messages: nothing to ask")
        return asked

    def verdict(self, rollout: Rollout, reply: ChatReply) -> Judgement:
        try:
            found = self.judge.verdict(reply.text)
            score, reason = found if isinstance(found, tuple) else (found, "")
            return scored(float(score), reply.text, str(reason))
        except Exception as error:  # whatever the user's code raises, this answer could not be read
            raise NoVerdictError(f"{type(error).__name__}: {error}") from error
