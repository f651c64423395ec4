"""The number of optimiser steps of a training. Imports no heavy library, so that `rft plan` can use it.

The last step is filled up: by `grpo` with masked copies of groups, by the other methods with examples of one more
epoch.
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
"""The columns of a batch that determine the number of steps."""


def planned_steps(batch: pl.DataFrame, training: Training, weights: Mapping[str, float]) -> int:
    """The number of steps on `batch`, unless `min_effective_share` ends it early; `weights` are the rubric's.

    Raises `GateError` if the batch has nothing to learn from.
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
    """The maximum number of steps for a future batch, if all its groups have variance."""
    if training.method == "grpo":
        return _grpo(prompts, group_size, training)
    return steps(most_examples(training, prompts, group_size), training)


def most_examples(training: Training, prompts: int, group_size: int) -> int:
    """The maximum number of examples in a round of `prompts` groups: rollouts, or pairs for `dpo`."""
    each = {"grpo": group_size, "raft": min(training.raft.best, group_size), "dpo": 1, "sft": 1}
    return prompts * each[training.method]


def _grpo(groups: int, size: int, training: Training) -> int:
    return (groups + fillers(groups, size, training.batch_size)) * size // training.batch_size * training.epochs
