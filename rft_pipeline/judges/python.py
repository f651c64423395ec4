"""`python`: a judge of the user's own, a class with two hooks.

class Brief:
    def messages(self, rollout):        # what to ask: (role, text) pairs; `fenced` shows an untrusted text
    def verdict(self, answer):          # a score in [0, 1], or (score, reason)

`own_object` and `own_word` (from `rft_pipeline.judges`) read an answer and never take a quoted verdict for the judge's.
The hooks run in a process of their own. An exception, an exit, a crash, or a hook that takes longer than `timeout`
leaves that reply unscored, with the reason.
"""

from collections.abc import Collection, Iterable, Mapping
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
from rft_pipeline.user_code import Code, CodeProcess, UserCodeError, code_process


class PythonJudge(ModelJudge):
    """A judge of the user's own: a class with the hooks `messages` and `verdict`."""

    VERSION = 4
    ENGINE = "asker"
    SEES_ALL = True

    protocol: Literal["python"]
    judge: Code
    """`module:Class`; a module next to the rubric, or an installed one."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Given to the class by keyword, as JSON has them: a date is a text."""
    max_tokens: int = Field(default=256, ge=1)
    timeout: float = Field(default=60.0, gt=0)
    """Seconds for one call of a hook."""

    @classmethod
    def reads_in(cls, judge: Mapping[str, Any]) -> list[str] | None:
        return None

    def make(self, engines: Engines) -> Judge:
        return PythonJudging(self, engines.asker(self.by))

    def scores(self, served: Collection[str]) -> Scores:
        return Scores.ENDS

    def faults(self) -> Iterable[str]:
        try:
            self.own_judge()
        except ConfigError as error:
            yield str(error)

    def own_judge(self) -> CodeProcess:
        """The user's judge, made with its settings. Raises `ConfigError` when that fails, or when it lacks a hook."""
        found = code_process(self.judge, self.settings, self.timeout)
        hooks = found.load()
        if lacking := [hook for hook in ("messages", "verdict") if hook not in hooks]:
            raise ConfigError(f"judge {self.judge.path}: has no {' and no '.join(lacking)}; both hooks are needed")
        return found


class PythonJudging(SingleAsking):
    """Asks what `messages` says, and scores what `verdict` makes of the answer."""

    def __init__(self, config: PythonJudge, asker: Asker) -> None:
        super().__init__(asker, config.max_tokens)
        self.judge = config.own_judge()

    def messages(self, rollout: Rollout) -> Messages:
        try:
            messages = self.judge.messages("messages", rollout)
        except UserCodeError as error:
            raise UnreadableError(f"messages: {error}") from error
        if not messages:
            raise UnreadableError("messages: nothing to ask")
        return messages

    def read(self, rollout: Rollout, reply: ChatReply) -> Judgement:
        try:
            score, reason = self.judge.score("verdict", reply.text)
        except UserCodeError as error:
            raise UnreadableError(str(error)) from error
        if score is None:
            raise UnreadableError(reason or "verdict: returned None")
        return scored(score, reply.text, reason)
