"""Trainers: a policy and a reward batch in, a checkpoint out."""

from rft_pipeline.trainers.base import LogStep, TrainJob

__all__ = ["LogStep", "TrainJob"]
