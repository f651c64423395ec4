"""GRPO by TRL over a materialised reward batch.

With `steps_per_generation` spanning the whole batch and `num_iterations` its epochs, TRL takes all rollouts in one
call, and the old log-probs stand before the first update, so the clipped ratio is exact. `scale_rewards="none"` leaves
the advantage as stored (it is zero-mean per group already). What TRL calls reward is therefore our advantage, and none
of its reward metrics are passed on.

Loss: DAPO's token-level normalisation, without KL unless `kl_beta` is set. Excluded rollouts are masked out.
"""

import os
import time
from typing import Any

import polars as pl
import torch
from datasets import Dataset
from transformers import PrinterCallback, TrainerCallback
from trl import GRPOConfig

from rft_pipeline.campaign import Training
from rft_pipeline.engines.weights import ADAPTER, load_adapter, load_tokenizer, load_weights, name_base, pick_device
from rft_pipeline.fingerprint import seed_of
from rft_pipeline.trainers.base import LogStep, TrainJob
from rft_pipeline.trainers.replay import Replay, ReplayTrainer, stored_advantage

METRICS = {
    "loss": "loss",
    "grad_norm": "grad_norm",
    "entropy": "entropy",
    "clip_ratio/region_mean": "clip_ratio",
    "learning_rate": "learning_rate",
    "kl_to_start": "kl_to_start",
    "tokens_per_second": "tokens_per_second",
}
"""TRL's name → ours. TRL's `reward` would be our advantage, so it is not among them."""


def train_grpo(job: TrainJob) -> dict[str, float]:
    """Train on the batch and write the checkpoint to `job.scratch / "checkpoint"`; metrics of the last step
    and `logprob_gap_mean` and `logprob_gap_p99`, how far the engine's log-probs are from the trainer's.

    Raises `GateError` when no rollout has an advantage to learn from.
    """
    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
    tokenizer = load_tokenizer(job.start)
    replay = Replay(job.batch, job.training.batch_size, job.seed)
    step_log = _StepLog(job.log_step)
    trainer = ReplayTrainer(
        model=_model(job),
        args=_config(job, replay),
        train_dataset=Dataset.from_dict({"prompt": replay.prompt_order}),
        reward_funcs=[stored_advantage],
        rollout_func=replay,
        processing_class=tokenizer,
        callbacks=[step_log],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    target = job.scratch / "checkpoint"
    trainer.accelerator.unwrap_model(trainer.model).save_pretrained(target)
    tokenizer.save_pretrained(target)
    if (target / ADAPTER).is_file():
        name_base(target, job.base)
    return {**step_log.last, **trainer.logprob_gap}


def planned_steps(batch: pl.DataFrame, training: Training, seed: int) -> int:
    """Optimiser steps that training on the batch will take."""
    return Replay(batch, training.batch_size, seed).size // training.batch_size * training.epochs


class _StepLog(TrainerCallback):
    """Passes each step's metrics on, under our names."""

    def __init__(self, log_step: LogStep) -> None:
        self.log_step = log_step
        self.began = time.monotonic()
        self.last: dict[str, float] = {}

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.began = time.monotonic()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        if logs is None or "grad_norm" not in logs:
            return
        seconds = time.monotonic() - self.began
        logs = {**logs, "tokens_per_second": self.step_tokens(args, state) / seconds}
        self.last = {ours: logs[theirs] for theirs, ours in METRICS.items() if theirs in logs}
        self.log_step(state.global_step, self.last)

    @staticmethod
    def step_tokens(args: Any, state: Any) -> float:
        """Mean prompt and completion tokens of one optimiser step; TRL counts the whole round's."""
        return float(state.num_input_tokens_seen) / (args.steps_per_generation / args.gradient_accumulation_steps)


def _config(job: TrainJob, replay: Replay) -> GRPOConfig:
    training, cpu = job.training, pick_device(job.training.runtime.device) == "cpu"
    micro = min(training.runtime.micro_batch_size, training.batch_size)
    if training.batch_size % micro:
        micro = next(size for size in range(micro, 0, -1) if training.batch_size % size == 0)
    return GRPOConfig(
        output_dir=str(job.scratch / "trainer"),
        use_cpu=cpu,
        bf16=True,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=training.batch_size // micro,
        steps_per_generation=replay.size // micro,
        num_generations=replay.group_size,
        temperature=job.temperature,
        num_iterations=training.epochs,
        num_train_epochs=1,
        shuffle_dataset=False,
        max_completion_length=max(len(row["tokens"]) for rows in replay.rows.values() for row in rows),
        learning_rate=training.learning_rate,
        lr_scheduler_type="constant_with_warmup",
        warmup_steps=training.warmup_steps,
        max_grad_norm=training.max_grad_norm,
        weight_decay=0.0,
        beta=training.kl_beta,
        epsilon=training.clip_low,
        epsilon_high=training.clip_high,
        loss_type="dapo",
        scale_rewards="none",
        gradient_checkpointing=False,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=seed_of(job.seed, "training") % 2**31,
        data_seed=0,
    )


def _model(job: TrainJob) -> Any:
    """fp32 master weights: an update of 1e-5 is below bf16's resolution. LoRA goes on with the adapter it finds."""
    device = pick_device(job.training.runtime.device)
    if job.training.weights == "full":
        return load_weights(job.start, "float32", device)
    if (job.start / ADAPTER).is_file():
        return load_adapter(job.start, device, trainable=True)
    from peft import LoraConfig, get_peft_model

    lora = job.training.lora
    torch.manual_seed(seed_of(job.seed, "adapter"))
    return get_peft_model(
        load_weights(job.base, "float32", device),
        LoraConfig(r=lora.rank, lora_alpha=lora.alpha, target_modules=list(lora.target_modules), task_type="CAUSAL_LM"),
    )
