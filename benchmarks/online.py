"""TRL's own online GRPOTrainer on a campaign: it samples as it trains, and asks our judges for each reward."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
from datasets import Dataset
from transformers import PrinterCallback
from trl import GRPOConfig, GRPOTrainer

from rft_pipeline.campaign import Campaign
from rft_pipeline.engines.weights import load_tokenizer, load_weights, pick_dtype
from rft_pipeline.errors import ConfigError
from rft_pipeline.fingerprint import seed_of
from rft_pipeline.stages.sampling import conversation


def train_online(
    campaign: Campaign,
    base: Path,
    prompts: pl.DataFrame,
    judged: Callable[[pl.DataFrame], pl.DataFrame],
    folder: Path,
) -> Path:
    """Train on `prompts` (prompt_id, messages, fields) as `campaign.training` says, with as many rollouts as a round
    has; returns the folder of the checkpoint. `judged` gives rollouts their reward."""
    training, rollouts = campaign.training, campaign.rollouts
    micro = min(training.runtime.micro_batch_size, training.batch_size)
    eos = load_tokenizer(base).eos_token_id

    def reward(completions: list[Any], completion_ids: list[list[int]], place: list[int], **_: Any) -> list[float]:
        rows = prompts[place].with_columns(
            rollout_id=pl.Series([str(i) for i in range(len(place))]),
            completion=pl.Series([completion[0]["content"] for completion in completions]),
            finish_reason=pl.Series(["stop" if ids[-1] == eos else "length" for ids in completion_ids]),
        )
        return [0.0 if value is None else float(value) for value in judged(rows)["reward"]]

    turns = [
        conversation(messages, campaign.policy.system, campaign.policy.system_in) for messages in prompts["messages"]
    ]
    trainer = GRPOTrainer(
        model=load_weights(base, "float32", "cpu"),
        args=GRPOConfig(
            output_dir=str(folder / "trainer"),
            use_cpu=True,
            bf16=pick_dtype(training.runtime.dtype, "cpu") == "bfloat16",
            per_device_train_batch_size=micro,
            gradient_accumulation_steps=training.batch_size // micro,
            num_generations=rollouts.group_size,
            temperature=rollouts.sampling.temperature,
            max_completion_length=rollouts.sampling.max_new_tokens,
            num_iterations=1,
            num_train_epochs=1,
            learning_rate=training.learning_rate,
            lr_scheduler_type="constant",
            warmup_steps=training.warmup_steps,
            max_grad_norm=training.max_grad_norm,
            loss_type=training.loss_type,
            mask_truncated_completions=training.mask_truncated,
            beta=training.kl_beta,
            epsilon=training.clip_low,
            epsilon_high=training.clip_high,
            gradient_checkpointing=False,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            logging_steps=1,
            seed=seed_of(campaign.seed, "online") % 2**31,
        ),
        train_dataset=Dataset.from_list(
            [
                {"prompt": [{"role": role, "content": content} for role, content in each], "place": i}
                for i, each in enumerate(turns)
            ]
        ),
        reward_funcs=[reward],
        processing_class=load_tokenizer(base),
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    target = folder / "checkpoint"
    trainer.model.save_pretrained(target)
    load_tokenizer(base).save_pretrained(target)
    (folder / "log.json").write_text(json.dumps(trainer.state.log_history), encoding="utf-8")
    return target


def refuse_what_differs(campaign: Campaign) -> None:
    """Raises `ConfigError` for settings that TRL's own trainer knows otherwise or not at all: an epoch over a stored
    batch has no counterpart where every step samples anew."""
    training = campaign.training
    differs = {
        "audit": campaign.audit is not None,
        "training.weights": training.weights != "full",
        "training.epochs": training.epochs != 1,
        "training.loss_type": training.loss_type == "bnpo",
        "training.max_negative_ratio": training.max_negative_ratio is not None,
        "training.min_effective_share": training.min_effective_share is not None,
    }
    if names := [name for name, does in differs.items() if does]:
        raise ConfigError(f"{campaign.name}: TRL's online trainer knows no {', '.join(names)} as in campaign.yaml")
