"""Loads the policy to train, in fp32 and without dropout."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from rft_pipeline.engines.weights import load_weights
from rft_pipeline.fingerprint import seed_of
from rft_pipeline.models.merging import is_adapter, load_adapter

if TYPE_CHECKING:
    from rft_pipeline.trainers.settings import Training


def load_policy(start: Path, base: Path, training: "Training", seed: int, device: str) -> Any:
    """The model to train, in fp32. LoRA continues an existing adapter, or adds a new one to `base`.

    Dropout is disabled: the policy sampled without it, and it would add noise to the ratios.
    """
    model = _load(start, base, training, seed, device)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        # attention and routers have no dropout layer but a number, in the module or in its config
        for holder in (module, getattr(module, "config", module)):
            for name, value in list(vars(holder).items()):
                if ("drop" in name or "jitter" in name) and isinstance(value, float):
                    setattr(holder, name, 0.0)
    return model


def _load(start: Path, base: Path, training: "Training", seed: int, device: str) -> Any:
    if training.weights == "full":
        return load_weights(start, "float32", device)
    if is_adapter(start):
        return load_adapter(start, device, trainable=True)
    from peft import LoraConfig, get_peft_model

    lora = training.lora
    modules = lora.target_modules if isinstance(lora.target_modules, str) else list(lora.target_modules)
    torch.manual_seed(seed_of(seed, "adapter"))
    return get_peft_model(
        load_weights(base, "float32", device),
        LoraConfig(r=lora.rank, lora_alpha=lora.alpha, target_modules=modules, task_type="CAUSAL_LM"),
    )
