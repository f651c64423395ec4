"""A checkpoint as others load it: whole weights and a tokenizer in one folder, a LoRA adapter merged into its base."""

import json
import shutil
from pathlib import Path

from rft_pipeline.errors import ModelError

ADAPTER = "adapter_config.json"
"""The file that makes a checkpoint a LoRA adapter."""


def is_adapter(checkpoint: Path) -> bool:
    return (checkpoint / ADAPTER).is_file()


def base_of(checkpoint: Path) -> Path:
    """The folder of the weights that an adapter adapts."""
    named: str = json.loads((checkpoint / ADAPTER).read_text(encoding="utf-8"))["base_model_name_or_path"]
    return (checkpoint / named).resolve()


def write_whole(checkpoint: Path, target: Path) -> None:
    """Write whole weights (safetensors) and the tokenizer into `target`: a copy, or the adapter merged in fp32.

    Raises `ModelError` when an adapter's base is gone.
    """
    if not is_adapter(checkpoint):
        shutil.copytree(checkpoint, target, dirs_exist_ok=True)
        return
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    base = base_of(checkpoint)
    try:
        whole = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, use_safetensors=True)
    except (OSError, ValueError) as error:
        raise ModelError(f"{checkpoint}: the base model of this adapter, {base}, cannot be loaded: {error}") from error
    PeftModel.from_pretrained(whole, checkpoint).merge_and_unload().save_pretrained(target)
    AutoTokenizer.from_pretrained(checkpoint).save_pretrained(target)
