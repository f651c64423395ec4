"""DPO by TRL (Rafailov et al. 2023, arXiv 2305.18290): prefer each group's best rollout over its worst.

It uses only the order of rewards, which suits judges that only rank; where people decided a pair of the group, their
order takes its place. The policy stays close to the start of the round.
Pairs are already tokens, so TRL's own preparation, which renders and tokenises texts, is skipped.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import polars as pl
from pydantic import Field

from rft_pipeline.strict import Strict
from rft_pipeline.trainers.examples import best_and_worst, in_steps
from rft_pipeline.trainers.method import Method, steps_for

if TYPE_CHECKING:
    from rft_pipeline.trainers.base import TrainJob
    from rft_pipeline.trainers.settings import Training

METRICS = {
    "mean_token_accuracy": "token_accuracy",
    "rewards/accuracies": "preferred_share",
    "rewards/margins": "preference_margin",
}
"""`preference_margin` is β times the gain of the best over the worst rollout in log-likelihood; `preferred_share` is
the share of pairs with a gain. TRL calls them rewards, but no judge is involved."""


class Dpo(Strict):
    beta: float = Field(default=0.1, gt=0)
    """Strength of the KL constraint to the round's start: larger is closer."""
    margin: float = Field(default=0.1, ge=0, le=1)
    """Minimum difference in reward between a group's best and worst rollout."""


class DpoMethod(Method):
    name = "dpo"
    why_not_in_generations = "dpo compares each pair with the policy at the start of the round"
    own_settings = frozenset({"dpo"})
    parts = ("choices",)
    reads_pairs = True
    unit = "pairs"
    takes_deepspeed = True

    def train(self, job: "TrainJob") -> dict[str, float]:
        from datasets import Dataset
        from trl import DPOConfig, DPOTrainer

        from rft_pipeline.engines.weights import load_tokenizer, load_weights
        from rft_pipeline.trainers.shared import common_config, job_device, load_model, run_trainer

        class StoredPairs(DPOTrainer):
            def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
                return dataset

        pairs = in_steps(best_and_worst(job.batch, job.training), job.training, job.seed)
        rows = [
            {"prompt_ids": pair.prompt_tokens, "chosen_ids": pair.chosen, "rejected_ids": pair.rejected}
            for pair in pairs
        ]
        full = job.training.weights == "full"
        trainer = StoredPairs(
            model=load_model(job),
            # for an adapter, TRL makes a frozen copy as the reference
            ref_model=load_weights(job.start, "float32", job_device(job)) if full else None,
            args=DPOConfig(
                **common_config(job),
                beta=job.training.dpo.beta,
                train_sampling_strategy="sequential",
                max_length=None,
            ),
            train_dataset=Dataset.from_list(rows),
            processing_class=load_tokenizer(job.start),
        )
        return run_trainer(trainer, job, METRICS)

    def steps(self, batch: pl.DataFrame, training: "Training", weights: Mapping[str, float]) -> int:
        return steps_for(len(best_and_worst(batch, training)), training)
