"""How many optimiser steps a training takes; imports nothing that trains, so that `rft plan` can ask.

The last step is filled up: with masked copies of whole groups by `grpo`, with first examples of one more epoch by the
other methods.
"""

from collections.abc import Mapping

import polars as pl

from rft_pipeline.trainers.examples import best_and_worst, best_of_groups, good_answers, steps
from rft_pipeline.trainers.replay import fillers, replayed_groups
from rft_pipeline.trainers.settings import Training

READ = (
    "prompt_id",
    "sample_index",
    "prompt_tokens",
    "tokens",
    "advantage",
    "excluded",
    "reward",
    "finish_reason",
    "fields",
    "scores",
    "gated",
    "labelled",
)
"""The columns of a batch that say how many steps it takes."""


def planned_steps(batch: pl.DataFrame, training: Training, weights: Mapping[str, float]) -> int:
    """Steps that training on `batch` takes, unless `min_effective_share` cuts it short; `weights` are the rubric's.

    Raises `GateError` when the batch has nothing to teach.
    """
    match training.method:
        case "grpo":
            groups, size = replayed_groups(batch, training.mask_truncated)
            return _grpo(len(groups), size, training)
        case "raft":
            return steps(len(best_of_groups(batch, training)), training)
        case "dpo":
            return steps(len(best_and_worst(batch, training)), training)
        case "sft":
            return steps(len(good_answers(batch, training, weights)), training)


def most_steps(training: Training, prompts: int, group_size: int) -> int:
    """The same for a batch that is still to be made, if all of its groups can teach."""
    if training.method == "grpo":
        return _grpo(prompts, group_size, training)
    return steps(most_examples(training, prompts, group_size), training)


def most_examples(training: Training, prompts: int, group_size: int) -> int:
    """The most that a round of `prompts` groups can give to learn from: rollouts, with `dpo` pairs of them."""
    each = {"grpo": group_size, "raft": min(training.raft.best, group_size), "dpo": 1, "sft": 1}
    return prompts * each[training.method]


def _grpo(groups: int, size: int, training: Training) -> int:
    return (groups + fillers(groups, size, training.batch_size)) * size // training.batch_size * training.epochs
