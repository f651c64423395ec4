"""The training function of each method."""

from collections.abc import Callable

from rft_pipeline.trainers.base import TrainJob
from rft_pipeline.trainers.dpo import train_dpo
from rft_pipeline.trainers.grpo import train_grpo
from rft_pipeline.trainers.raft import train_raft
from rft_pipeline.trainers.sft import train_sft

METHODS: dict[str, Callable[[TrainJob], dict[str, float]]] = {
    "grpo": train_grpo,
    "raft": train_raft,
    "dpo": train_dpo,
    "sft": train_sft,
}
"""Each writes `job.scratch / "checkpoint"` and returns the metrics of the last step and of the whole training."""
