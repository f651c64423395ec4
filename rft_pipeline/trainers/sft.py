"""SFT, a warm start: imitate the replies with the best labels, or the prompts' references."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import polars as pl

from rft_pipeline.engines.settings import Sampling
from rft_pipeline.rules.base import REFERENCE
from rft_pipeline.trainers.examples import Example, good_answers, in_steps
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
        """All epochs as one generation, because each has an order of its own. The loss is over the replies; all tokens
        of a step have the same weight."""
        from rft_pipeline.engines.weights import load_tokenizer
        from rft_pipeline.trainers.session import train_at_once

        tokenizer = load_tokenizer(job.start)
        examples = good_answers(job.batch, job.training, job.weights)
        rows = [
            example.row(example.name, to_imitate(example, tokenizer))
            for example in in_steps(examples, job.training, job.seed)
        ]
        return train_at_once(replace(job, training=job.training.model_copy(update={"epochs": 1})), rows).metrics

    def steps(self, batch: pl.DataFrame, training: "Training", weights: Mapping[str, float]) -> int:
        return steps_for(len(good_answers(batch, training, weights)), training)

    def warnings(self, training: "Training", sampling: Sampling, has_references: bool) -> Iterator[tuple[str, str]]:
        if not has_references:
            yield (
                "training.method",
                f"sft imitates references, and no prompt has the field {REFERENCE!r}; it can learn only from replies "
                "with labels",
            )


def to_imitate(example: Example, tokenizer: Any) -> list[int]:
    """The tokens to imitate. A reference gets the chat template's end-of-turn token, and for a reasoning model an empty
    thought before it."""
    from rft_pipeline.engines.chat_tokens import empty_thought, reply_tokens
    from rft_pipeline.engines.end_tokens import end_of_turn

    if example.tokens is not None:
        return example.tokens
    before = empty_thought(tokenizer, example.prompt_tokens)
    return [*before, *reply_tokens(tokenizer, example.text), end_of_turn(tokenizer)]
