"""What a rule sees, and what it says."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import regex
from pydantic import AfterValidator, Field

from rft_pipeline.errors import RftError
from rft_pipeline.fingerprint import canonical_json
from rft_pipeline.strict import Strict

REFERENCE = "reference"
"""The prompt column that holds a good answer."""
SECONDS = 2.0
"""The time limit of one search with a pattern of the rubric: some patterns would take years on some replies."""


def _compiles(pattern: str) -> str:
    if "\b" in pattern:
        raise ValueError(r'"\b" in double quotes is a backspace in YAML; write the pattern in single quotes')
    try:
        regex.compile(pattern)
    except regex.error as error:
        raise ValueError(f"not a regular expression: {error}") from error
    return pattern


RegexText = Annotated[str, AfterValidator(_compiles)]
"""A regular expression, as text."""
Show = Literal["last_turn", "conversation", "system"]
"""What is shown of a prompt: the user's last turn, all turns of user and assistant, or these and the prompt's own
system turn."""
ColumnName = Annotated[str, Field(min_length=1)]


@dataclass(frozen=True)
class Rollout:
    """One completion and what is known about it; the completion is untrusted text."""

    prompt: str
    """What was asked: the text of the user's turn, or the turns in order when there are several."""
    completion: str
    finish_reason: str = "stop"
    """`stop` (the model ended its turn) or `length` (the budget ran out)."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """The prompt row's other columns."""
    system: str = ""
    """The prompt's own system turn, e.g. the rules of one shop, without the campaign's `policy.system`. Empty if there
    is none."""
    filled_system: str = ""
    """`policy.system` as it was filled with the prompt's columns. Empty if it has no slots: it then says the same to
    every prompt."""
    item: str = ""
    """The item of the prompt's rubric that is judged, where items are judged one by one."""

    last_turn: str = ""
    """The text of the user's last turn. Empty if there is one turn only, which is `prompt`."""

    @property
    def group_key(self) -> tuple[str, str, str]:
        """Replies with the same key answer the same prompt."""
        return self.filled_system, self.system, self.prompt

    def group(self, columns: Iterable[str] = ()) -> tuple[str, ...]:
        """The same for a judge that shows these columns."""
        return (*self.group_key, *(canonical_json(self.fields.get(name)) for name in columns))

    def showing(self, show: Show) -> "Rollout":
        """The rollout with only this of its prompt."""
        match show:
            case "system":
                return self
            case "conversation":
                return replace(self, system="")
            case "last_turn":
                return replace(self, system="", prompt=self.last_turn or self.prompt)

    @property
    def asked(self) -> str:
        """The prompt with its own system turn, as one text."""
        return "\n\n".join(part for part in (self.system, self.prompt) if part)

    @property
    def given(self) -> str:
        """Everything about this prompt that the reply was given, as one text."""
        return "\n\n".join(part for part in self.group_key if part)

    def conversation(self, system: str = "") -> tuple[tuple[str, str], ...]:
        """The prompt as (role, content) turns; `system` comes before its own system turn."""
        turns = (("system", "\n\n".join(part for part in (system, self.system) if part)), ("user", self.prompt))
        return turns if turns[0][1] else turns[1:]


class RuleScore(NamedTuple):
    """A score in [0, 1] and the reason in words; the score is None if the rule cannot decide."""

    score: float | None
    reason: str


class RuleFailure(RuleScore):
    """The rule could not do its work on this machine: nothing is said about the reply, and the next run asks again."""

    __slots__ = ()


class Column(NamedTuple):
    """A column of the prompts that a rule reads; `rft check` checks every row against it."""

    parameter: str
    """The rule's parameter that names it."""
    name: str
    can_be: Callable[[Any], bool]
    """Whether the rule can use a value."""
    not_one: str
    """What is wrong with a value that it cannot use, e.g. `neither yes nor no`."""
    allowed: str
    absent: str = "a reply to such a prompt is unscored, and a rollout with an unscored criterion does not train"
    """What the rule does with a prompt that lacks the column."""

    @property
    def needed(self) -> bool:
        """Whether the rule needs a value: null then counts as no column."""
        return not self.can_be(None)


class Checked(Strict):
    """Settings of a rule or a judge, as `rft check` sees them."""

    ELSEWHERE = dict.fromkeys(
        ("gate", "weight", "description"), "it belongs to the criterion, so write it above `judge`"
    )

    def columns(self) -> tuple[Column, ...]:
        """The columns of the prompts that are read. Without a value the score is None, never a number."""
        return ()

    def faults(self) -> Iterable[str]:
        """What is wrong with the settings themselves."""
        return ()

    def warnings(self) -> Iterable[str]:
        """What a user should know about the settings."""
        return ()

    def best_score(self, max_new_tokens: int) -> float:
        """The highest score that a reply of so many tokens can get; a word takes at least one token."""
        return 1.0


class Rule(Checked):
    """A rule's parameters; calling it scores a rollout. `version` grows when its scores may change."""

    READS: ClassVar[tuple[str, ...] | None] = None
    """The parameters that name the columns of the prompts that it reads; None if it may read any column. Only these
    columns are part of what it scores."""

    name: str
    version: int = 1

    def __call__(self, rollout: Rollout) -> RuleScore:
        raise NotImplementedError

    def decide(self, rollout: Rollout) -> RuleScore:
        """The score, or None with the reason: no reply makes this raise an error.

        Raises only `RftError`, when the rule itself cannot be used.
        """
        try:
            return self(rollout)
        except RftError:
            raise
        except TimeoutError:
            return RuleScore(None, f"the pattern takes more than {SECONDS:g} s on this reply; write a simpler one")
        except Exception as error:  # whatever a library raises on an untrusted text
            return RuleScore(None, f"{type(error).__name__}: {str(error)[:200]}")

    def decide_all(self, rollouts: Sequence[Rollout]) -> Iterator[tuple[int, RuleScore]]:
        """The scores of many replies, each with its index, in any order."""
        for place, rollout in enumerate(rollouts):
            yield place, self.decide(rollout)
