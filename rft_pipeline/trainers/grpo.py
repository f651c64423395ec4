"""GRPO by TRL over a materialised reward batch.

TRL samples and scores on its own account; here it is made to replay what the store holds. `rollout_func` hands it the
stored tokens, the only reward function hands it the stored advantage, and `scale_rewards="none"` leaves that as it is
(it is zero-mean per group already). With `steps_per_generation` spanning the whole batch and `num_iterations` its
epochs, TRL takes the old log-probs of every rollout once, before the first update, so the clipped ratio is exact.
What TRL calls reward is therefore our advantage, and none of its reward metrics are passed on.

Loss: DAPO's token-level normalisation, without KL unless `kl_beta` is set. Excluded rollouts are masked out.
"""

import os
import time
from collections import Counter
from typing import Any

import polars as pl
import torch
from datasets import Dataset
from transformers import PrinterCallback, TrainerCallback
from trl import GRPOConfig, GRPOTrainer
from trl.trainer.utils import entropy_from_logits, selective_log_softmax

from rft_pipeline.campaign import Training
from rft_pipeline.engines.weights import load_tokenizer, load_weights, pick_device
from rft_pipeline.errors import GateError
from rft_pipeline.fingerprint import seed_of
from rft_pipeline.trainers.base import LogStep, TrainJob

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
    """Train on the batch and write the checkpoint to `job.scratch / "checkpoint"`; metrics of the last step.

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
    return step_log.last


def planned_steps(batch: pl.DataFrame, training: Training, seed: int) -> int:
    """Optimiser steps that training on the batch will take."""
    return Replay(batch, training.batch_size, seed).size // training.batch_size * training.epochs


def stored_advantage(completions: list[str], advantage: list[float], **_: Any) -> list[float]:
    """The reward function TRL sees: the advantage of the batch."""
    return advantage


class Replay:
    """Hands TRL the stored rollouts, group by group; the `rollout_func`.

    Only groups that can teach are replayed. Their number is filled up, so that whole optimiser steps come out, with
    copies whose every token is masked.
    """

    def __init__(self, batch: pl.DataFrame, batch_size: int, seed: int) -> None:
        used = batch.filter(pl.col("excluded").is_null())["prompt_id"].unique().to_list()
        if not used:
            raise GateError("the reward batch has no group with variance: nothing to learn from")
        used.sort(key=lambda prompt_id: seed_of(seed, "training order", prompt_id))
        rows = batch.filter(pl.col("prompt_id").is_in(used)).sort("prompt_id", "sample_index")
        self.rows = {str(key[0]): part.to_dicts() for key, part in rows.group_by("prompt_id", maintain_order=True)}
        self.group_size = len(self.rows[used[0]])
        self.batch_size = batch_size
        fillers = 0
        while (len(used) + fillers) * self.group_size % batch_size:
            fillers += 1
        self.prompt_order = used + [f"{_FILLER}{used[i % len(used)]}" for i in range(fillers)]
        self.calls = 0

    @property
    def size(self) -> int:
        """Rollouts in one pass, fillers included."""
        return len(self.prompt_order) * self.group_size

    def __call__(self, prompts: list[str], trainer: Any) -> dict[str, list[Any]]:
        self.calls += 1
        seen: Counter[str] = Counter()
        replayed = []
        for prompt in prompts:
            filler = prompt.startswith(_FILLER)
            row = self.rows[prompt.removeprefix(_FILLER)][seen[prompt] % self.group_size]
            seen[prompt] += 1
            live = not filler and row["excluded"] is None
            replayed.append((row, live))
        return {
            "prompt_ids": [row["prompt_tokens"] for row, _ in replayed],
            "completion_ids": [row["tokens"] for row, _ in replayed],
            "logprobs": [row["logprobs"] for row, _ in replayed],
            "env_mask": [[int(live)] * len(row["tokens"]) for row, live in replayed],
            "advantage": [row["advantage"] if live else 0.0 for row, live in replayed],
        }


_FILLER = "filler:"


class ReplayTrainer(GRPOTrainer):
    """TRL's trainer with two additions: padding is cut per forward pass, and the KL to the start is measured."""

    def _get_per_token_logps_and_entropies(  # type: ignore[no-untyped-def]
        self, model, input_ids, attention_mask, logits_to_keep, batch_size=None, **kwargs
    ):
        """TRL pads every row to the longest of the whole round; equal results, without the empty columns.

        Rows are taken in order of length, so each pass of `batch_size` rows has little padding left.
        """
        rows = input_ids.shape[0]
        size = batch_size or rows
        order = attention_mask.sum(1).argsort(stable=True)
        prompt_width = input_ids.shape[1] - logits_to_keep
        forward = super()._get_per_token_logps_and_entropies if input_ids.is_cuda else self._plain_head
        parts = []
        for start in range(0, rows, size):
            chosen = order[start : start + size]
            mask = attention_mask[chosen]
            left = int(mask[:, :prompt_width].argmax(1).min())
            keep = max(1, int(mask[:, prompt_width:].sum(1).max()))
            window = slice(left, prompt_width + keep)
            logps, entropies, _ = forward(model, input_ids[chosen][:, window], mask[:, window], keep, **kwargs)
            widen = (0, logits_to_keep - keep)
            parts.append([None if x is None else torch.nn.functional.pad(x, widen) for x in (logps, entropies)])
        back = order.argsort()
        logps, entropies = (
            None if column[0] is None else torch.cat(column)[back] for column in zip(*parts, strict=True)
        )
        self._newest_logps = logps
        return logps, entropies, None

    def _plain_head(self, model, input_ids, attention_mask, logits_to_keep, compute_entropy=False, **_):  # type: ignore[no-untyped-def]
        """Log-probs from whole logits. TRL's fused head saves memory on a GPU; on a CPU it doubles the time of a step."""
        with self.accelerator.autocast():
            logits = model(
                input_ids=input_ids, attention_mask=attention_mask, logits_to_keep=logits_to_keep + 1
            ).logits[:, :-1]
        logits = logits.float() / self.temperature
        logps = selective_log_softmax(logits, input_ids[:, -logits_to_keep:])
        entropies = None
        if compute_entropy:
            with torch.no_grad():
                entropies = entropy_from_logits(logits)
        return logps, entropies, None

    def _compute_loss(self, model, inputs):  # type: ignore[no-untyped-def]
        loss = super()._compute_loss(model, inputs)
        mask = inputs["completion_mask"] * inputs["tool_mask"]
        new = self._newest_logps.detach()
        log_ratio = new - inputs.get("old_per_token_logps", new)
        kl = ((log_ratio.exp() - 1 - log_ratio) * mask).sum() / mask.sum().clamp(min=1)
        self._metrics["train"]["kl_to_start"].append(kl.item())
        return loss


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
    adapter = (job.start / "adapter_config.json").is_file()
    if job.training.weights == "full":
        return load_weights(job.start, "float32", device)
    from peft import LoraConfig, PeftModel, get_peft_model

    base = load_weights(job.base, "float32", device)
    if adapter:
        return PeftModel.from_pretrained(base, job.start, is_trainable=True)
    lora = job.training.lora
    torch.manual_seed(seed_of(job.seed, "adapter"))
    return get_peft_model(
        base,
        LoraConfig(r=lora.rank, lora_alpha=lora.alpha, target_modules=list(lora.target_modules), task_type="CAUSAL_LM"),
    )
