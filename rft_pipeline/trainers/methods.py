"""The trainer of each method."""

from collections.abc import Callable
from typing import NamedTuple

from rft_pipeline.trainers import dpo, grpo, raft, sft
from rft_pipeline.trainers.base import TrainJob


class Method(NamedTuple):
    train: Callable[[TrainJob], dict[str, float]]
    """Writes `job.scratch / "checkpoint"`; the last step's metrics, and what holds for the whole training."""
    planned_steps: Callable[[TrainJob], int]
    """Optimiser steps that training will take at most."""


METHODS = {
    "grpo": Method(grpo.train_grpo, grpo.planned_steps),
    "raft": Method(raft.train_raft, raft.planned_steps),
    "dpo": Method(dpo.train_dpo, dpo.planned_steps),
    "sft": Method(sft.train_sft, sft.planned_steps),
}
