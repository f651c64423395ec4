"""Supervised training by TRL's SFTTrainer on tokenised replies. The loss is over the reply only; all tokens of a step
have the same weight."""

from collections.abc import Sequence
from typing import Any

from datasets import Dataset
from trl import SFTConfig, SFTTrainer

from rft_pipeline.engines.chat_tokens import reply_tokens
from rft_pipeline.engines.end_tokens import end_of_turn
from rft_pipeline.engines.weights import load_tokenizer
from rft_pipeline.trainers.base import TrainJob
from rft_pipeline.trainers.examples import Example, in_steps
from rft_pipeline.trainers.shared import common_config, load_model, run_trainer

METRICS = {"mean_token_accuracy": "token_accuracy"}
IGNORED = -100
"""The label of tokens that are not in the loss."""


def to_imitate(example: Example, tokenizer: Any) -> list[int]:
    """The tokens to imitate; a reference gets the end-of-turn token of the chat template."""
    if example.tokens is not None:
        return example.tokens
    return [*reply_tokens(tokenizer, example.text), end_of_turn(tokenizer)]


def imitate(job: TrainJob, examples: Sequence[Example]) -> dict[str, float]:
    """Train on the replies and write the checkpoint; metrics of the last step."""
    tokenizer = load_tokenizer(job.start)
    rows = []
    for example in in_steps(examples, job.training, job.seed):
        tokens = to_imitate(example, tokenizer)
        labels = [IGNORED] * len(example.prompt_tokens) + tokens
        rows.append({"input_ids": example.prompt_tokens + tokens, "labels": labels})
    trainer = SFTTrainer(
        model=load_model(job),
        args=SFTConfig(
            **common_config(job),
            train_sampling_strategy="sequential",
            max_length=None,
            dataset_kwargs={"skip_prepare_dataset": True},
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    return run_trainer(trainer, job, METRICS)
