"""Shared by all trainers: loading the model, common settings, the log of steps, resuming and saving."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelerate import PartialState
from safetensors.torch import load_file
from transformers import PrinterCallback, TrainerCallback

from rft_pipeline.engines.weights import pick_device, pick_dtype
from rft_pipeline.fingerprint import seed_of
from rft_pipeline.trainers.base import LogStep, TrainJob
from rft_pipeline.trainers.kept import (
    DONE,
    check_room,
    earlier_steps,
    forget_later_steps,
    last_state,
    micro_batch,
    prepare,
    steps_of,
)
from rft_pipeline.trainers.loading import load_policy, write_checkpoint

METRICS = {"loss": "loss", "grad_norm": "grad_norm", "entropy": "entropy", "learning_rate": "learning_rate"}
"""TRL's metric → ours, for all trainers."""
FROZEN_COPY = "ref"
"""The name of the adapter that TRL copies from the start policy, and of its folder in a saved state."""


def run_trainer(trainer: Any, job: TrainJob, metrics: dict[str, str]) -> dict[str, float]:
    """Train, from the last saved state if there is one, and write the checkpoint to `job.scratch / "checkpoint"`;
    returns the last step's metrics with our names."""
    state = last_state(job.kept)
    step_log = _StepLog(job, METRICS | metrics, steps_of(state))
    trainer.add_callback(step_log)
    if state is not None and (state / FROZEN_COPY).is_dir():
        trainer.add_callback(_Adapter(state))
    trainer.remove_callback(PrinterCallback)
    check_room(trainer.model, job.training, job.kept, job.training.how.steps(job.batch, job.training, job.weights))
    trainer.train(resume_from_checkpoint=None if state is None else str(state))
    sharded = trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled
    weights = trainer.accelerator.get_state_dict(trainer.model_wrapped) if sharded else None
    if trainer.accelerator.is_main_process:
        write_checkpoint(trainer.accelerator.unwrap_model(trainer.model), job, job.scratch, weights)
    return step_log.last


def common_config(job: TrainJob) -> dict[str, Any]:
    """Settings of all TRL configs. Prepares the kept folder."""
    training = job.training
    micro = micro_batch(training)
    device = pick_device(training.runtime.device)
    process = PartialState()
    if process.is_main_process:
        prepare(job.kept, training)
    process.wait_for_everyone()
    return {
        "output_dir": str(job.kept),
        "use_cpu": device == "cpu",
        "bf16": pick_dtype(training.runtime.dtype, device) == "bfloat16",
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": training.batch_size // (micro * training.runtime.processes),
        "num_train_epochs": 1,
        "learning_rate": training.learning_rate,
        "lr_scheduler_type": "constant_with_warmup",
        "warmup_steps": training.warmup_steps,
        "max_grad_norm": training.max_grad_norm,
        "weight_decay": 0.0,
        "gradient_checkpointing": False,
        "logging_steps": 1,
        "save_strategy": "steps",
        "save_steps": training.runtime.save_steps,
        "save_total_limit": 1,
        "report_to": "none",
        "disable_tqdm": True,
        "seed": seed_of(job.seed, "training") % 2**31,
        "data_seed": 0,
    }


def load_model(job: TrainJob) -> Any:
    """The model to train."""
    return load_policy(job, job_device(job))


def job_device(job: TrainJob) -> str:
    """The device of the model; each of several processes has its own."""
    device = pick_device(job.training.runtime.device)
    return device if device == "cpu" else str(PartialState().device)


class _StepLog(TrainerCallback):
    """Reports each step's metrics with our names, after those of the steps before a kill."""

    def __init__(self, job: TrainJob, metrics: dict[str, str], resumed: int) -> None:
        self.log_step: LogStep = job.log_step
        self.metrics = metrics
        self.kept = job.kept
        self.resumed = resumed
        self.tokens_before = 0.0
        self.began = time.monotonic()
        self.last: dict[str, float] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if not state.is_world_process_zero:
            return
        earlier = earlier_steps(self.kept, self.resumed)
        forget_later_steps(self.kept, self.resumed)
        for number, metrics in earlier:
            self.last = metrics
            self.log_step(number, metrics)

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.began = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if control.should_training_stop:
            control.should_save = False  # the training is finished

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        if logs is None or "grad_norm" not in logs or not state.is_world_process_zero:
            return
        seconds = time.monotonic() - self.began
        logs = {**logs, "tokens_per_second": self._step_tokens(logs) / seconds}
        named = self.metrics | {"tokens_per_second": "tokens_per_second"}
        self.last = {ours: float(logs[theirs]) for theirs, ours in named.items() if theirs in logs}
        # raises if the parent process has ended, so that nothing more is written
        self.log_step(state.global_step, self.last)
        with (self.kept / DONE).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": state.global_step, **self.last}) + "\n")

    def _step_tokens(self, logs: Mapping[str, float]) -> float:
        """Prompt and completion tokens of the step."""
        tokens = logs["num_tokens"] - self.tokens_before
        self.tokens_before = logs["num_tokens"]
        return tokens


class _Adapter(TrainerCallback):
    """Loads the trained adapter of a state; with several adapters, transformers loads only those in subfolders."""

    def __init__(self, state: Path) -> None:
        self.state = state

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        from peft import set_peft_model_state_dict

        set_peft_model_state_dict(getattr(model, "module", model), load_file(self.state / "adapter_model.safetensors"))
