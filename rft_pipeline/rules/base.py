"""What a rule sees, and what it says."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from rft_pipeline.strict import Strict


@dataclass(frozen=True)
class Rollout:
    """One completion and what is known of it; the completion is untrusted text."""

    prompt: str
    """The customer's side: the text of the last user turn."""
    completion: str
    finish_reason: str = "stop"
    """`stop` (the model ended its turn) or `length` (the budget ran out)."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """The prompt row's other columns."""


class Verdict(NamedTuple):
    """A score in [0, 1] and the reason in words."""

    score: float
    reason: str


class Rule(Strict):
    """A rule's parameters; calling it scores a rollout. `version` grows when its verdicts may change."""

    version: int = 1

    def __call__(self, rollout: Rollout) -> Verdict:
        raise NotImplementedError
