"""The rows that a training session takes, and their order in optimiser steps. Uses the standard library only."""

from collections.abc import Sequence
from dataclasses import dataclass

LOGPROBS = "logprobs.parquet"
"""A file in the folder of a checkpoint: rollout_id and old_logprobs, the trainer's log-probs of each rollout's tokens
under the policy that sampled it."""


@dataclass(frozen=True)
class TrainingRow:
    """One rollout of a generation."""

    group: str
    """The prompt's id."""
    prompt_tokens: list[int]
    tokens: list[int]
    logprobs: list[float]
    """The engine's log-probs at temperature 1, in nats; may be empty."""
    advantage: float
    live: bool
    """Whether it counts in the loss: excluded rollouts do not, nor do truncated ones with `mask_truncated`."""
    old_logprobs: list[float] | None = None
    """Log-probs at the sampling temperature under the policy that sampled it, for a rollout of an earlier generation.
    None: the policy as it is at the start of the generation."""
    rollout_id: str = ""
    masked: int = 0
    """How many of the first `tokens` do not count in the loss: those of the thought with `mask_thinking`."""
    environment: Sequence[int] = ()
    """Positions in `tokens` that an environment wrote, not the policy. They do not count in the loss, nor in the
    likelihood ratio of the rollout; `old_logprobs` may hold any number there."""

    @property
    def counted(self) -> int:
        """Tokens that count in the loss if the row is live."""
        return len(self.tokens) - self.masked - len(self.environment)

    @property
    def length(self) -> int:
        """Tokens of prompt and reply."""
        return len(self.prompt_tokens) + len(self.tokens)


@dataclass(frozen=True)
class Trained:
    """What one generation did."""

    metrics: dict[str, float]
    """Those of its last step, `logprob_gap_mean` and `logprob_gap_p99` over the generation where engine log-probs are
    known, and `stopped_at_step` if `min_effective_share` ended it; empty without a step."""
    steps: int
    old_logprobs: list[list[float]]
    """The trainer's log-probs at the sampling temperature under the policy at the start of the generation, per row in
    the order given; empty lists for a method without likelihood ratios."""


def plan_steps(rows: Sequence[TrainingRow], batch_size: int, epochs: int) -> list[list[int]]:
    """Indices of the rows of each step: `batch_size` rows in the order given, and fewer in an epoch's last step.

    There are no steps if no row is live.
    """
    if not any(row.live for row in rows):
        return []
    order = list(range(len(rows)))
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)] * epochs
