"""What a training method is: how it trains, what it reads of a batch, and how many steps it takes."""

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import polars as pl

from rft_pipeline.engines.settings import Sampling
from rft_pipeline.trainers.rows import TrainingRow

if TYPE_CHECKING:
    from rft_pipeline.trainers.base import TrainJob
    from rft_pipeline.trainers.settings import Training


class Method:
    """One way to train a policy on a reward batch.

    A new method is a subclass in a file of its own and a line in `methods.METHODS`. The file imports heavy libraries
    where it uses them: plans and checks read it too. Settings of its own are a field of `settings.Training`.
    """

    name: ClassVar[str]
    own_settings: ClassVar[frozenset[str]] = frozenset()
    """Settings of `training` that only this method uses."""
    parts: ClassVar[tuple[str, ...]] = ()
    """The parts of a reward batch that it reads in addition to advantages."""
    unit: ClassVar[str] = "examples"
    """What a step counts."""
    reads_pairs: ClassVar[bool] = False
    """Whether it trains on people's decided pairs of train prompts."""
    needs_differences: ClassVar[bool] = True
    """Whether it needs groups with different rewards."""
    step_fits_round: ClassVar[bool] = False
    """Whether a step cannot be larger than a round."""
    takes_deepspeed: ClassVar[bool] = False
    """Whether it can train under DeepSpeed. `session.Session` cannot: DeepSpeed takes the step within backward, and
    keeps gradients and moments where a state could not find them."""
    why_not_in_generations: ClassVar[str] = ""
    """Why it cannot train a round generation by generation, on its `rows`; empty if it can."""

    def settings(self, training: "Training", sampling: Sampling, weights: Mapping[str, float]) -> dict[str, Any]:
        """Settings outside `training` that change its result; `weights` are the rubric's."""
        return {}

    def uses_base(self, training: "Training") -> bool:
        """Whether the loss uses the campaign's base model."""
        return False

    def train(self, job: "TrainJob") -> dict[str, float]:
        """Write `job.scratch / "checkpoint"`; the metrics of the last step and of the whole training.

        Raises `GateError` if the batch has nothing to learn from.
        """
        raise NotImplementedError

    def rows(
        self, batch: pl.DataFrame, training: "Training", weights: Mapping[str, float], seed: int
    ) -> list[TrainingRow]:
        """The rows of a generation's batch that train, in order; none if it has nothing to learn from. A column
        `old_logprobs` of the batch is passed on."""
        raise NotImplementedError(self.why_not_in_generations)

    def steps(self, batch: pl.DataFrame, training: "Training", weights: Mapping[str, float]) -> int:
        """The number of optimiser steps on a batch. Raises `GateError` if it has nothing to learn from."""
        raise NotImplementedError

    def examples_per_prompt(self, training: "Training", group_size: int) -> int:
        """The maximum number of examples from one group."""
        return 1

    def most_steps(self, training: "Training", prompts: int, group_size: int) -> int:
        """The maximum number of steps for a future batch, if all its groups have variance."""
        return steps_for(prompts * self.examples_per_prompt(training, group_size), training)

    def warnings(self, training: "Training", sampling: Sampling, has_references: bool) -> Iterator[tuple[str, str]]:
        """What weakens a training: the key in campaign.yaml, and why. `has_references` tells whether a prompt has a
        reference."""
        yield from ()


def steps_in_epochs(rows: int, training: "Training") -> int:
    """The number of steps of `batch_size` rows; the last step of an epoch may have fewer."""
    return math.ceil(rows / training.batch_size) * training.epochs


def steps_for(examples: int, training: "Training") -> int:
    """The number of steps that use each example at least `epochs` times."""
    return math.ceil(examples * training.epochs / training.batch_size)
