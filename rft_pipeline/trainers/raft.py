"""RAFT (Dong et al. 2023, arXiv 2304.06767): imitate the best rollouts of each group, ignore the others.

It is stable and fast at first. Bad rollouts are never made less likely, so diversity shrinks over the rounds.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import polars as pl
from pydantic import Field

from rft_pipeline.strict import Strict
from rft_pipeline.trainers.examples import best_of_groups
from rft_pipeline.trainers.method import Method, steps_for

if TYPE_CHECKING:
    from rft_pipeline.trainers.base import TrainJob
    from rft_pipeline.trainers.settings import Training


class Raft(Strict):
    best: int = Field(default=1, ge=1)
    """Rollouts per group that are imitated: those with the highest rewards."""


class RaftMethod(Method):
    name = "raft"
    own_settings = frozenset({"raft"})
    parts = ("choices",)

    def train(self, job: "TrainJob") -> dict[str, float]:
        from rft_pipeline.trainers.imitation import imitate

        return imitate(job, best_of_groups(job.batch, job.training))

    def steps(self, batch: pl.DataFrame, training: "Training", weights: Mapping[str, float]) -> int:
        return steps_for(len(best_of_groups(batch, training)), training)

    def examples_per_prompt(self, training: "Training", group_size: int) -> int:
        return min(training.raft.best, group_size)
