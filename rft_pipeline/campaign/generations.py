"""Generations: how a round's prompts are shared out among its samplings."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Generations:
    """The generations of a round."""

    count: int
    prompts: int
    """Prompts of one generation."""
    steps: int
    """Optimiser steps on one pass over a generation."""


def share_out(prompts: int, group_size: int, batch_size: int, steps: int) -> Generations:
    """The generations of a round of `prompts` prompts, with `steps` optimiser steps each.

    Raises `ValueError`, with the nearest values that fit, when whole groups do not fill the steps of a generation or
    generations of equal size do not fill the round.
    """
    if _fits(prompts, group_size, batch_size, steps):
        each = steps * batch_size // group_size
        return Generations(prompts // each, each, steps)
    near = sorted(
        (each for each in range(1, prompts * group_size // batch_size + 1)),
        key=lambda each: (abs(each - steps), each),
    )
    fitting = sorted([each for each in near if _fits(prompts, group_size, batch_size, each)][:2])
    rollouts = steps * batch_size
    if rollouts % group_size:
        why = f"{rollouts} rollouts are not whole groups of {group_size} (rollouts.group_size)"
    else:
        each = rollouts // group_size
        below = prompts - prompts % each
        others = [value for value in (below, below + each) if value]
        why = (
            f"{each} prompts a generation do not divide rollouts.prompts_per_round of {prompts} "
            f"({' and '.join(map(str, others))} would)"
        )
    values = " or ".join(map(str, fitting)) if fitting else "null, the whole round at once"
    raise ValueError(
        f"training.steps_per_generation: {steps} steps of {batch_size} rollouts (training.batch_size): {why}; the "
        f"nearest steps_per_generation that fit: {values}"
    )


def _fits(prompts: int, group_size: int, batch_size: int, steps: int) -> bool:
    rollouts = steps * batch_size
    return rollouts % group_size == 0 and prompts % (rollouts // group_size) == 0
