"""Generations: how a round's prompts are shared out among its samplings."""

from collections.abc import Iterable
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
    rollouts, each = steps * batch_size, steps * batch_size // group_size
    if rollouts % group_size:
        why = f"{rollouts} rollouts are not whole groups of {group_size} (rollouts.group_size)"
    else:
        why = f"{each} prompts a generation do not divide rollouts.prompts_per_round of {prompts}"
    whole = prompts * group_size
    fitting = {
        "rollouts.prompts_per_round": []
        if rollouts % group_size
        else _nearest(prompts, _near(prompts, 2 * whole, each)),
        "training.batch_size": _nearest(
            batch_size, (size for size in _near(batch_size, whole) if _fits(prompts, group_size, size, steps))
        ),
        "training.steps_per_generation": _nearest(
            steps, (many for many in _near(steps, whole // batch_size) if _fits(prompts, group_size, batch_size, many))
        ),
    }
    change = "; or ".join(f"{key}: {' or '.join(map(str, values))}" for key, values in fitting.items() if values)
    raise ValueError(
        f"training.steps_per_generation: {steps} {'step' if steps == 1 else 'steps'} of {batch_size} rollouts "
        f"(training.batch_size): {why}; "
        + (f"the nearest that fit: {change}" if change else "set it to null, which samples the whole round at once")
    )


SEARCHED = 10_000
"""How far from a value those are searched that fit."""


def _near(wanted: int, most: int, step: int = 1) -> range:
    """The multiples of `step` from 1 to `most`, at most `SEARCHED` of them to either side of `wanted`."""
    lowest = max(1, wanted // step - SEARCHED)
    return range(lowest * step, min(most, wanted + SEARCHED * step) + 1, step)


def _nearest(wanted: int, fitting: Iterable[int]) -> list[int]:
    """The nearest two of some numbers, in order."""
    return sorted(sorted(fitting, key=lambda each: (abs(each - wanted), each))[:2])


def _fits(prompts: int, group_size: int, batch_size: int, steps: int) -> bool:
    rollouts = steps * batch_size
    return rollouts % group_size == 0 and prompts % (rollouts // group_size) == 0
