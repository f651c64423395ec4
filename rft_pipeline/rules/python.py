"""A rule of the user's own."""

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import Field

from rft_pipeline.errors import ConfigError
from rft_pipeline.rules.base import Rollout, Rule, RuleScore
from rft_pipeline.user_code import Code, UserCodeError, code_process


class Python(Rule):
    """A function decides: `function(rollout, **settings)` returns a score in [0, 1], or (score, reason).

    The rollout has prompt, completion, finish_reason and fields. None, an exception, an exit, a crash, a call longer
    than `timeout`, or a number outside [0, 1] leaves the rollout unscored. The function runs in a process of its own
    with all rights of the user: it is no place to execute a completion; for that there is `unit_tests`.
    """

    name: Literal["python"] = "python"
    version: int = 2
    function: Code
    """`module:function`; a module next to the rubric, or an installed one."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Given to the function by keyword, as JSON has them: a date is a text."""
    timeout: float = Field(default=60.0, gt=0)
    """Seconds for one call."""

    def faults(self) -> Iterable[str]:
        try:
            code_process(self.function, None, self.timeout).load()
        except ConfigError as error:
            yield str(error)

    def __call__(self, rollout: Rollout) -> RuleScore:
        try:
            score, reason = code_process(self.function, None, self.timeout).score(None, rollout, **self.settings)
        except UserCodeError as error:
            return RuleScore(None, str(error))
        return RuleScore(score, reason)
