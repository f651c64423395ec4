"""DPO by TRL (Rafailov et al. 2023, arXiv 2305.18290): prefer each group's best rollout over its worst.

It uses only the order of rewards, which suits judges that only rank. The policy stays close to the start of the round.
Pairs are already tokens, so TRL's own preparation, which renders and tokenises texts, is skipped.
"""

from typing import Any

from datasets import Dataset
from trl import DPOConfig, DPOTrainer

from rft_pipeline.engines.weights import load_tokenizer, load_weights
from rft_pipeline.trainers.base import TrainJob
from rft_pipeline.trainers.examples import best_and_worst, in_steps
from rft_pipeline.trainers.shared import common_config, job_device, load_model, run_trainer

METRICS = {
    "mean_token_accuracy": "token_accuracy",
    "rewards/accuracies": "preferred_share",
    "rewards/margins": "preference_margin",
}
"""`preference_margin` is β times the gain of the best over the worst rollout in log-likelihood; `preferred_share` is
the share of pairs with a gain. TRL calls them rewards, but no judge is involved."""


def train_dpo(job: TrainJob) -> dict[str, float]:
    """Train on the pairs and write the checkpoint; metrics of the last step.

    Raises `GateError` if no group has a large enough difference in reward.
    """
    pairs = in_steps(best_and_worst(job.batch, job.training), job.training, job.seed)
    rows = [
        {"prompt_ids": pair.prompt_tokens, "chosen_ids": pair.chosen, "rejected_ids": pair.rejected} for pair in pairs
    ]
    full = job.training.weights == "full"
    trainer = _StoredPairs(
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


class _StoredPairs(DPOTrainer):
    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        return dataset
