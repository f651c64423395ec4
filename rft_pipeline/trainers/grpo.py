"""GRPO by TRL over a materialised reward batch.

`steps_per_generation` spans the whole batch and `num_iterations` is the number of epochs. So TRL takes all rollouts in
one call and computes the old log-probs before the first update, which makes the clipped ratio exact. TRL's reward is
our stored advantage (already zero-mean per group, so `scale_rewards="none"`); TRL's reward metrics are not reported.

Loss: DAPO's token-level normalisation unless `loss_type` says otherwise; a KL penalty to base or to the round's start
if `kl_beta` is set. Excluded rollouts are masked; truncated ones are masked with `mask_truncated`.
"""

import os
from typing import Any

from accelerate import PartialState
from datasets import Dataset
from transformers import TrainerCallback
from trl import GRPOConfig

from rft_pipeline.engines.weights import load_tokenizer
from rft_pipeline.trainers.base import TrainJob
from rft_pipeline.trainers.replay import Replay, stored_advantage
from rft_pipeline.trainers.replay_trainer import ReplayTrainer
from rft_pipeline.trainers.shared import FROZEN_COPY, common_config, load_model, run_trainer

METRICS = {
    "clip_ratio/region_mean": "clip_ratio",
    "kl_to_start": "kl_to_start",
    "effective_share": "effective_share",
}
"""TRL's metric → ours, in addition to those of all trainers."""


def train_grpo(job: TrainJob) -> dict[str, float]:
    """Train on the batch and write the checkpoint to `job.scratch / "checkpoint"`; metrics of the last step,
    `logprob_gap_mean` and `logprob_gap_p99`, the difference between the engine's and the trainer's log-probs, and
    `stopped_at_step` if `min_effective_share` ended the round early.

    Raises `GateError` if no rollout has an advantage.
    """
    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
    replay = Replay(job.batch, job.training.batch_size, job.seed, job.training.mask_truncated)
    share = _EffectiveShare(job.training.min_effective_share)
    model = load_model(job)
    if job.training.weights == "full" and job.training.held_to_base:
        model.config._name_or_path = str(job.base)  # TRL loads the reference from here
    trainer = ReplayTrainer(
        model=model,
        args=_config(job, replay),
        train_dataset=Dataset.from_dict({"prompt": replay.prompt_order}),
        reward_funcs=[stored_advantage],
        rollout_func=replay,
        processing_class=load_tokenizer(job.start),
        callbacks=[share],
    )
    if job.training.held_to_base and FROZEN_COPY in getattr(trainer.model, "peft_config", {}):
        trainer.model.delete_adapter(FROZEN_COPY)  # TRL then uses the model without an adapter: base
    trainer.round_file = job.kept / f"round-{PartialState().process_index}.safetensors"
    trainer.max_negative_ratio = job.training.max_negative_ratio
    trainer.tokens_of_a_step = job.training.loss_type == "bnpo"
    share.trainer = trainer
    last = run_trainer(trainer, job, METRICS)
    stopped = {} if share.stopped is None else {"stopped_at_step": float(share.stopped)}
    return {**last, **trainer.logprob_gap, **stopped}


class _EffectiveShare(TrainerCallback):
    """Ends the round when the effective share of a step is below the minimum. That step still counts."""

    trainer: ReplayTrainer

    def __init__(self, least: float | None) -> None:
        self.least = least
        self.stopped: int | None = None

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        share = self.trainer.end_step()
        if self.least is not None and share < self.least and state.global_step < state.max_steps:
            self.stopped = state.global_step
            control.should_training_stop = True


def _config(job: TrainJob, replay: Replay) -> GRPOConfig:
    training, common = job.training, common_config(job)
    # TRL's bnpo averages over a micro-batch, so its size would change the result; ReplayTrainer averages over a step
    loss_type = "dapo" if training.loss_type == "bnpo" else training.loss_type
    return GRPOConfig(
        **common,
        steps_per_generation=replay.size // (common["per_device_train_batch_size"] * PartialState().num_processes),
        num_generations=replay.group_size,
        temperature=job.sampling.temperature,
        num_iterations=training.epochs,
        shuffle_dataset=False,
        max_completion_length=job.sampling.max_new_tokens,
        beta=training.kl_beta,
        epsilon=training.clip_low,
        epsilon_high=training.clip_high,
        loss_type=loss_type,
        scale_rewards="none",
    )
