"""The losses of grpo and raft, as a weighted sum over the live tokens of a step.

Axes: N reply tokens of a pass.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from rft_pipeline.trainers.rows import TrainingRow

if TYPE_CHECKING:
    from rft_pipeline.trainers.settings import Training


def token_weights(
    rows: Sequence[TrainingRow], step: Sequence[int], steps: int, training: "Training", max_new_tokens: int
) -> dict[int, float]:
    """The weight of each counted token in the loss of a step, by row; 0 for rows that are not live.

    `rows` are those of the generation and `steps` their steps in one epoch. A step with fewer rows than `batch_size`
    weighs less: every token of a generation (`dapo`) or every rollout (`grpo`, `dr_grpo`) counts the same.
    """
    live = {i: rows[i].counted for i in step if rows[i].live and rows[i].counted}
    loss_type = training.loss_type if training.method == "grpo" else "bnpo"
    if loss_type == "grpo":
        weights = {i: 1 / (count * training.batch_size) for i, count in live.items()}
    else:
        divisor: float = {
            "dapo": sum(row.counted for row in rows if row.live) / steps,
            "bnpo": sum(live.values()),
            "dr_grpo": training.batch_size * max_new_tokens,
        }[loss_type]
        weights = dict.fromkeys(live, 1 / max(divisor, 1.0))
    return {i: weights.get(i, 0.0) for i in step}


def policy_losses(
    new_N: torch.Tensor,
    old_N: torch.Tensor,
    advantage_N: torch.Tensor,
    training: "Training",
    reference_N: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The clipped surrogate (Schulman et al. 2017, arXiv 1707.06347) of each token with the KL penalty to the
    reference; and 1 where the ratio is clipped, else 0.

    The penalty is the k3 estimator times the ratio, as in TRL: its gradient is that of the reverse KL without bias
    (DeepSeek-V3.2, arXiv 2512.02556).

    With `max_negative_ratio`, the ratio is truncated where the advantage is negative, as in TOPR (arXiv 2503.14286):
    the gradient is that of the log-prob times the cap. With clipping it would be 0, and the token could grow without
    limit.
    """
    if training.max_negative_ratio is not None:
        cap = math.log(training.max_negative_ratio)
        beyond_N = (advantage_N < 0) & (new_N.detach() - old_N > cap)
        old_N = torch.where(beyond_N, new_N.detach() - cap, old_N)
    low, high = 1 - training.clip_low, 1 + training.clip_high
    ratio_N = (new_N - old_N).exp()
    losses_N = -torch.min(ratio_N * advantage_N, ratio_N.clamp(low, high) * advantage_N)
    if reference_N is not None:
        difference_N = reference_N - new_N
        losses_N = losses_N + training.kl_beta * ratio_N * (difference_N.exp() - difference_N - 1)
    clipped_N = ((ratio_N < low) & (advantage_N < 0)) | ((ratio_N > high) & (advantage_N > 0))
    return losses_N, clipped_N.float()


def effective_share(total: float, squares: float, count: float) -> float:
    """(Σw)²/Σw² divided by the number of rollouts, from Σw, Σw² and the number; w is the likelihood ratio of a whole
    rollout. 1 if all are equal or there is none, 0 if all round to 0."""
    return total**2 / (count * squares) if squares else float(not count)
