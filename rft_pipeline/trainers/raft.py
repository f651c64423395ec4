"""RAFT (Dong et al. 2023, arXiv 2304.06767): imitate the best rollouts of each group, the rest teaches nothing.

Fast at first and stable; what is bad is never pushed down, so that diversity shrinks with the rounds.
"""

from rft_pipeline.trainers.base import TrainJob
from rft_pipeline.trainers.examples import best_of_groups
from rft_pipeline.trainers.imitation import imitate


def train_raft(job: TrainJob) -> dict[str, float]:
    """Train on the best rollouts. Raises `GateError` when no group has any."""
    return imitate(job, best_of_groups(job.batch, job.training))
