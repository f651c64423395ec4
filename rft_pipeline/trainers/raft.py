"""RAFT (Dong et al. 2023, arXiv 2304.06767): imitate the best rollouts of each group, ignore the others.

It is stable and fast at first. Bad rollouts are never made less likely, so diversity shrinks over the rounds.
"""

from rft_pipeline.trainers.base import TrainJob
from rft_pipeline.trainers.examples import best_of_groups
from rft_pipeline.trainers.imitation import imitate


def train_raft(job: TrainJob) -> dict[str, float]:
    """Train on the best rollouts. Raises `GateError` if no group has any."""
    return imitate(job, best_of_groups(job.batch, job.training))
