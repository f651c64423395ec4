"""SFT, a warm start: imitate the replies with the best labels, or the prompts' references."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

from rft_pipeline.engines.settings import Sampling
from rft_pipeline.rules.base import REFERENCE
from rft_pipeline.trainers.examples import good_answers
from rft_pipeline.trainers.method import Method, steps_for

if TYPE_CHECKING:
    from rft_pipeline.trainers.base import TrainJob
    from rft_pipeline.trainers.settings import Training


class SftMethod(Method):
    name = "sft"
    why_not_in_generations = "sft imitates labelled replies and references, which do not change as the policy learns"
    parts = ("choices", "people")
    needs_differences = False

    def settings(self, training: "Training", sampling: Sampling, weights: Mapping[str, float]) -> dict[str, Any]:
        return {"criterion_weights": dict(weights)}

    def train(self, job: "TrainJob") -> dict[str, float]:
        from rft_pipeline.trainers.imitation import imitate

        return imitate(job, good_answers(job.batch, job.training, job.weights))

    def steps(self, batch: pl.DataFrame, training: "Training", weights: Mapping[str, float]) -> int:
        return steps_for(len(good_answers(batch, training, weights)), training)

    def warnings(self, training: "Training", sampling: Sampling, has_references: bool) -> Iterator[tuple[str, str]]:
        if not has_references:
            yield (
                "training.method",
                f"sft imitates references, and no prompt has the field {REFERENCE!r}; it can learn only from replies "
                "with labels",
            )
