"""Loads the policy to train, in fp32 and without dropout, and writes the trained one."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from rft_pipeline.engines.weights import load_weights, name_base
from rft_pipeline.fingerprint import seed_of
from rft_pipeline.models.installed import content_hash
from rft_pipeline.models.merging import copy_tokenizer, is_adapter, load_adapter, write_model

if TYPE_CHECKING:
    from rft_pipeline.trainers.base import TrainJob


def load_policy(job: "TrainJob", device: str) -> Any:
    """The model to train, in fp32. LoRA continues an existing adapter, or adds a new one to the base model.

    Dropout is disabled: the policy sampled without it, and it would add noise to the ratios.
    """
    model = _load(job, device)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        # attention and routers have no dropout layer but a number, in the module or in its config
        for holder in (module, getattr(module, "config", module)):
            for name, value in list(vars(holder).items()):
                if ("drop" in name or "jitter" in name) and isinstance(value, float):
                    setattr(holder, name, 0.0)
    return model


def write_checkpoint(model: Any, job: "TrainJob", scratch: Path, weights: dict[str, Any] | None = None) -> None:
    """Write a trained model, or of a LoRA model the adapter, with its tokenizer into `scratch / "checkpoint"`.
    `weights` are those of a model that is sharded."""
    target = scratch / "checkpoint"
    if hasattr(model, "peft_config"):
        # there may also be a frozen copy for the loss
        model.save_pretrained(target, state_dict=weights, selected_adapters=["default"])
        name_base(target, job.base)
    else:
        write_model(model, job.start, target, weights, rounding_seed(job))
    copy_tokenizer(job.start, target)


def rounding_seed(job: "TrainJob") -> int:
    """The seed by which trained weights are rounded: another one in each round, so that a weight that moves little in
    each of them moves at last."""
    return seed_of(job.seed, "rounding", content_hash(job.start))


def _load(job: "TrainJob", device: str) -> Any:
    if job.training.weights == "full":
        model = load_weights(job.start, "float32", device)
        if job.training.freeze_embeddings:
            for module in (model.get_input_embeddings(), model.get_output_embeddings()):
                if module is not None:  # a model without a head is refused later
                    module.requires_grad_(False)
        return model
    if is_adapter(job.start):
        return load_adapter(job.start, device, trainable=True)
    from peft import LoraConfig, get_peft_model

    lora = job.training.lora
    modules = lora.target_modules if isinstance(lora.target_modules, str) else list(lora.target_modules)
    torch.manual_seed(seed_of(job.seed, "adapter"))
    return get_peft_model(
        load_weights(job.base, "float32", device),
        LoraConfig(r=lora.rank, lora_alpha=lora.alpha, target_modules=modules, task_type="CAUSAL_LM"),
    )
