"""What a rule sees, and what it says."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple

import regex
from pydantic import AfterValidator, Field

from rft_pipeline.errors import RftError
from rft_pipeline.strict import Strict

REFERENCE = "reference"
"""The prompt column that holds a good answer."""
SECONDS = 2.0
"""What one search with a pattern of the rubric may take; some patterns take years on some replies."""


def _compiles(pattern: str) -> str:
    try:
        regex.compile(pattern)
    except regex.error as error:
        raise ValueError(f"not a regular expression: {error}") from error
    return pattern


RegexText = Annotated[str, AfterValidator(_compiles)]
"""A regular expression, as text."""
ColumnName = Annotated[str, Field(min_length=1)]


@dataclass(frozen=True)
class Rollout:
    """One completion and what is known of it; the completion is untrusted text."""

    prompt: str
    """What was asked: the text of the user's turn, or the turns in order when there are several."""
    completion: str
    finish_reason: str = "stop"
    """`stop` (the model ended its turn) or `length` (the budget ran out)."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """The prompt row's other columns."""
    system: str = ""
    """The prompt's own system turn, e.g. the rules of one shop; the campaign's `policy.system` is none. Empty without
    one."""

    @property
    def group_key(self) -> tuple[str, str]:
        """What replies must share to answer the same prompt."""
        return self.system, self.prompt

    @property
    def given(self) -> str:
        """All that the reply may draw on, as one text."""
        return "\n\n".join(part for part in self.group_key if part)

    def conversation(self, system: str = "") -> tuple[tuple[str, str], ...]:
        """The prompt as (role, content) turns; `system` stands in front of its own system turn."""
        turns = (("system", "\n\n".join(part for part in (system, self.system) if part)), ("user", self.prompt))
        return turns if turns[0][1] else turns[1:]


class RuleScore(NamedTuple):
    """A score in [0, 1] and the reason in words; the score is None where the rule cannot decide."""

    score: float | None
    reason: str


class Column(NamedTuple):
    """A column of the prompts that a rule reads: what `rft check` holds every row against."""

    parameter: str
    """The rule's parameter that names it."""
    name: str
    can_be: Callable[[Any], bool]
    """Whether the rule can use a value."""
    not_one: str
    """What a value is that it cannot use, e.g. `neither yes nor no`."""
    allowed: str
    absent: str = "there it is unscored, and a rollout with an unscored criterion does not train"
    """What the rule does with a prompt that lacks the column."""

    @property
    def needed(self) -> bool:
        """Whether null is as good as no column."""
        return not self.can_be(None)


class Rule(Strict):
    """A rule's parameters; calling it scores a rollout. `version` grows when its scores may change."""

    name: str
    version: int = 1

    def columns(self) -> tuple[Column, ...]:
        """The columns of the prompts it reads. Without one a rule makes no score up: its verdict is None."""
        return ()

    def faults(self) -> Iterable[str]:
        """What is wrong with the parameters themselves."""
        return ()

    def best_score(self, max_new_tokens: int) -> float:
        """The highest score that a reply of so many tokens can get; a word takes at least one token."""
        return 1.0

    def __call__(self, rollout: Rollout) -> RuleScore:
        raise NotImplementedError

    def decide(self, rollout: Rollout) -> RuleScore:
        """The verdict, which no reply can prevent: what cannot be decided is unscored, with the reason.

        Raises `RftError` alone, which says that the rule itself cannot be used.
        """
        try:
            return self(rollout)
        except RftError:
            raise
        except TimeoutError:
            return RuleScore(None, f"the pattern takes more than {SECONDS:g} s on this reply; write it more simply")
        except Exception as error:  # whatever a library raises on an untrusted text
            return RuleScore(None, f"{type(error).__name__}: {str(error)[:200]}")
