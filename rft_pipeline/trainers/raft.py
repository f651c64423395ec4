"""RAFT (Dong et al. 2023, arXiv 2304.06767): imitate the best rollouts of each group, ignore the others.

It is stable and fast at first. Bad rollouts are never made less likely, so diversity shrinks over the rounds.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import polars as pl
from pydantic import Field

from rft_pipeline.fingerprint import seed_of
from rft_pipeline.strict import Strict
from rft_pipeline.trainers.examples import best_of_groups, some
from rft_pipeline.trainers.method import Method, steps_in_epochs
from rft_pipeline.trainers.rows import TrainingRow

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

    def rows(
        self, batch: pl.DataFrame, training: "Training", weights: Mapping[str, float], seed: int
    ) -> list[TrainingRow]:
        """The best rollouts, group by group in a seeded order."""
        rows = [best.row(best.name.rpartition("/")[0], best.tokens or []) for best in best_of_groups(batch, training)]
        return sorted(rows, key=lambda row: seed_of(seed, "training order", row.group))

    def train(self, job: "TrainJob") -> dict[str, float]:
        from rft_pipeline.trainers.session import train_at_once

        self.steps(job.batch, job.training, job.weights)  # raises if there is nothing to imitate
        return train_at_once(job, self.rows(job.batch, job.training, job.weights, job.seed)).metrics

    def steps(self, batch: pl.DataFrame, training: "Training", weights: Mapping[str, float]) -> int:
        best = some(best_of_groups(batch, training), "no group has a rollout to imitate")
        return steps_in_epochs(len(best), training)

    def most_steps(self, training: "Training", prompts: int, group_size: int) -> int:
        return steps_in_epochs(prompts * self.examples_per_prompt(training, group_size), training)

    def examples_per_prompt(self, training: "Training", group_size: int) -> int:
        return min(training.raft.best, group_size)
