"""`python`: a judge of the user's own, a class with two hooks.

class Brief:
    def messages(self, rollout):        # what to ask: (role, text) pairs; `fenced` shows an untrusted text
    def verdict(self, answer):          # a score in [0, 1], or (score, reason)

`own_object` and `own_word` (from `rft_pipeline.judges`) read an answer and never take a quoted verdict for the judge's.
An exception in a hook leaves that reply unscored, with the exception as the reason.
"""

from collections.abc import Collection, Iterable
from typing import Any, Literal

from pydantic import Field

from rft_pipeline.engines import Asker, ChatReply
from rft_pipeline.engines.base import Messages
from rft_pipeline.errors import ConfigError
from rft_pipeline.judges.answers import UnreadableError
from rft_pipeline.judges.asking import SingleAsking
from rft_pipeline.judges.base import Judge, Judgement, scored
from rft_pipeline.judges.settings import Engines, ModelJudge, Scores
from rft_pipeline.rules import Rollout
from rft_pipeline.user_code import Code


class PythonJudge(ModelJudge):
    """A judge of the user's own: a class with the hooks `messages` and `verdict`."""

    VERSION = 3
    ENGINE = "asker"
    SEES_ALL = True

    protocol: Literal["python"]
    judge: Code
    """`module:Class`; a module next to the rubric, or an installed one."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Given to the class by keyword."""
    max_tokens: int = Field(default=256, ge=1)

    def make(self, engines: Engines) -> Judge:
        return Python(self, engines.asker(self.by))

    def scores(self, served: Collection[str]) -> Scores:
        return Scores.ENDS

    def faults(self) -> Iterable[str]:
        try:
            self.own_judge()
        except ConfigError as error:
            yield str(error)

    def own_judge(self) -> Any:
        """The user's judge, made with its settings. Raises `ConfigError` when that fails, or when it lacks a hook."""
        made = self.judge.load()
        try:
            judge = made(**self.settings)
        except Exception as error:  # whatever the user's code raises: no reply can be judged
            raise ConfigError(
                f"judge {self.judge.path}: settings {sorted(self.settings)}: {type(error).__name__}: {error}"
            ) from error
        if lacking := [hook for hook in ("messages", "verdict") if not callable(getattr(judge, hook, None))]:
            raise ConfigError(f"judge {self.judge.path}: has no {' and no '.join(lacking)}; both hooks are needed")
        return judge


class Python(SingleAsking):
    """Asks what `messages` says, and scores what `verdict` makes of the answer."""

    def __init__(self, config: PythonJudge, asker: Asker) -> None:
        super().__init__(asker, config.max_tokens)
        self.judge = config.own_judge()

    def messages(self, rollout: Rollout) -> Messages:
        try:
            messages = tuple((str(role), str(text)) for role, text in self.judge.messages(rollout))
        except Exception as error:  # whatever the user's code raises, this reply cannot be asked about
            raise UnreadableError(f"messages: {type(error).__name__}: {error}") from error
        if not messages:
            raise UnreadableError("messages: nothing to ask")
        return messages

    def read(self, rollout: Rollout, reply: ChatReply) -> Judgement:
        try:
            found = self.judge.verdict(reply.text)
            score, reason = found if isinstance(found, tuple) else (found, "")
            return scored(float(score), reply.text, str(reason))
        except Exception as error:  # whatever the user's code raises, this answer could not be read
            raise UnreadableError(f"{type(error).__name__}: {error}") from error
