"""A rule of the user's own."""

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import Field

from rft_pipeline.errors import ConfigError
from rft_pipeline.rules.base import Rollout, Rule, RuleScore
from rft_pipeline.user_code import Code


class Python(Rule):
    """A function decides: `function(rollout, **settings)` returns a score in [0, 1], or (score, reason).

    The rollout has prompt, completion, finish_reason and fields. None, an exception or a number outside [0, 1] leaves
    the rollout unscored.
    """

    name: Literal["python"] = "python"
    function: Code
    """`module:function`; a module next to the rubric, or an installed one."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Given to the function by keyword."""

    def faults(self) -> Iterable[str]:
        try:
            self.function.load()
        except ConfigError as error:
            yield str(error)

    def __call__(self, rollout: Rollout) -> RuleScore:
        function = self.function.load()
        try:
            found = function(rollout, **self.settings)
            score, reason = found if isinstance(found, tuple) else (found, "")
            return RuleScore(None if score is None else float(score), str(reason))
        except Exception as error:  # whatever the user's code raises, this rollout could not be scored
            return RuleScore(None, f"{type(error).__name__}: {error}")
