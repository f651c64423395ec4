"""Trainers: train a policy on a reward batch with grpo, raft, dpo or sft, and write a checkpoint."""

from rft_pipeline.trainers.base import LogStep, TrainJob

__all__ = ["LogStep", "TrainJob"]
