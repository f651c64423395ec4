"""GRPO by TRL over a materialised reward batch.

`steps_per_generation` spans the whole batch and `num_iterations` is the number of epochs. So TRL takes all rollouts in
one call and computes the old log-probs before the first update, which makes the clipped ratio exact. TRL's reward is
our stored advantage (already zero-mean per group, so `scale_rewards="none"`); TRL's reward metrics are not reported.

Loss: DAPO's token-level normalisation unless `loss_type` says otherwise; a KL penalty to base or to the round's start
if `kl_beta` is set. Excluded rollouts are masked; truncated ones are masked with `mask_truncated`.
"""

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

from rft_pipeline.engines.settings import Sampling
from rft_pipeline.trainers.method import Method
from rft_pipeline.trainers.replay import Replay, fillers, replayed_groups, stored_advantage

if TYPE_CHECKING:
    from rft_pipeline.trainers.base import TrainJob
    from rft_pipeline.trainers.settings import Training

METRICS = {
    "clip_ratio/region_mean": "clip_ratio",
    "kl_to_start": "kl_to_start",
    "effective_share": "effective_share",
}
"""TRL's metric → ours, in addition to those of all trainers."""


class GrpoMethod(Method):
    name = "grpo"
    own_settings = frozenset(
        {"clip_low", "clip_high", "kl_beta", "kl_to", "loss_type", "max_negative_ratio", "min_effective_share"}
    )
    unit = "rollouts"
    step_fits_round = True

    def settings(self, training: "Training", sampling: Sampling, weights: Mapping[str, float]) -> dict[str, Any]:
        """The likelihood ratio is that of the tempered distribution; `dr_grpo` divides by the longest reply allowed."""
        longest = {"max_new_tokens": sampling.max_new_tokens} if training.loss_type == "dr_grpo" else {}
        return {"temperature": sampling.temperature, **longest}

    def uses_base(self, training: "Training") -> bool:
        return training.kl_beta > 0 and training.kl_to == "base"

    def train(self, job: "TrainJob") -> dict[str, float]:
        """The metrics hold `logprob_gap_mean` and `logprob_gap_p99` too, the difference between the engine's and the
        trainer's log-probs, and `stopped_at_step` if `min_effective_share` ended the round early."""
        from accelerate import PartialState
        from datasets import Dataset

        from rft_pipeline.engines.weights import load_tokenizer
        from rft_pipeline.trainers.replay_trainer import EffectiveShare, ReplayTrainer
        from rft_pipeline.trainers.shared import FROZEN_COPY, load_model, run_trainer

        os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
        replay = Replay(job.batch, job.training.batch_size, job.seed, job.training.mask_truncated)
        share = EffectiveShare(job.training.min_effective_share)
        model = load_model(job)
        if job.training.weights == "full" and self.uses_base(job.training):
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
        if self.uses_base(job.training) and FROZEN_COPY in getattr(trainer.model, "peft_config", {}):
            trainer.model.delete_adapter(FROZEN_COPY)  # TRL then uses the model without an adapter: base
        trainer.round_file = job.kept / f"round-{PartialState().process_index}.safetensors"
        trainer.max_negative_ratio = job.training.max_negative_ratio
        trainer.tokens_of_a_step = job.training.loss_type == "bnpo"
        share.trainer = trainer
        last = run_trainer(trainer, job, METRICS)
        stopped = {} if share.stopped is None else {"stopped_at_step": float(share.stopped)}
        return {**last, **trainer.logprob_gap, **stopped}

    def steps(self, batch: pl.DataFrame, training: "Training", weights: Mapping[str, float]) -> int:
        groups, size = replayed_groups(batch, training.mask_truncated)
        return _steps(len(groups), size, training)

    def examples_per_prompt(self, training: "Training", group_size: int) -> int:
        return group_size

    def most_steps(self, training: "Training", prompts: int, group_size: int) -> int:
        return _steps(prompts, group_size, training)

    def warnings(self, training: "Training", sampling: Sampling, has_references: bool) -> Iterator[tuple[str, str]]:
        if sampling.top_p < 1 or sampling.top_k > 0:
            cut = [f"top_p {sampling.top_p:g}"] * (sampling.top_p < 1) + [f"top_k {sampling.top_k}"] * (
                sampling.top_k > 0
            )
            yield (
                "rollouts.sampling",
                f"{', '.join(cut)} samples from another distribution than training computes, which biases grpo's "
                "ratios; set top_p 1 and top_k 0, or use raft or dpo, which need no ratios",
            )


def _steps(groups: int, size: int, training: "Training") -> int:
    """With masked copies of groups that fill up the last step."""
    return (groups + fillers(groups, size, training.batch_size)) * size // training.batch_size * training.epochs


def _config(job: "TrainJob", replay: Replay) -> Any:
    from accelerate import PartialState
    from trl import GRPOConfig

    from rft_pipeline.trainers.shared import common_config

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
