"""RAFT (Dong et al. 2023, arXiv 2304.06767): imitate the best rollouts of each group, ignore the others.

It is stable and fast at first. Bad rollouts are never made less likely, so diversity shrinks over the rounds.
"""

from collections.abc import Mapping
from itertools import islice
from typing import TYPE_CHECKING

import polars as pl
from pydantic import Field

from rft_pipeline.strict import Strict
from rft_pipeline.trainers.examples import best_of_groups, in_epochs, some
from rft_pipeline.trainers.method import Method, steps_for
from rft_pipeline.trainers.rows import Row

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
    in_generations = True

    def rows(self, batch: pl.DataFrame, training: "Training", weights: Mapping[str, float], seed: int) -> list[Row]:
        """The best rollouts, once an epoch, in an order of each epoch's own."""
        epochs = islice(in_epochs(best_of_groups(batch, training), seed), training.epochs)
        return [
            Row(best.name.rpartition("/")[0], best.prompt_tokens, best.tokens or [], [], 1.0, live=True)
            for epoch in epochs
            for best in epoch
        ]

    def train(self, job: "TrainJob") -> dict[str, float]:
        from rft_pipeline.trainers.session import train_at_once

        return train_at_once(job)[1].metrics

    def steps(self, batch: pl.DataFrame, training: "Training", weights: Mapping[str, float]) -> int:
        return steps_for(len(some(best_of_groups(batch, training), "no group has a rollout to imitate")), training)

    def examples_per_prompt(self, training: "Training", group_size: int) -> int:
        return min(training.raft.best, group_size)
