"""Loading a policy or judge with transformers: full checkpoints and LoRA adapters alike."""

from pathlib import Path
from typing import Any

from rft_pipeline.errors import ModelError


def pick_device(wanted: str) -> str:
    """`auto` means the GPU where there is one."""
    import torch

    if wanted != "auto":
        return wanted
    return "cuda" if torch.cuda.is_available() else "cpu"


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a checkpoint, padding on the left. Raises `ModelError` when it has no chat template."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    if tokenizer.chat_template is None:
        raise ModelError(f"{folder}: the tokenizer has no chat template; use an instruction-tuned model")
    tokenizer.padding_side = "left"
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_weights(folder: Path, dtype: str, device: str) -> Any:
    """The causal language model in `folder`, a LoRA adapter there merged into the base model it names."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    options: dict[str, Any] = {"dtype": getattr(torch, dtype), "use_safetensors": True}
    try:
        if (folder / "adapter_config.json").is_file():
            from peft import AutoPeftModelForCausalLM

            options["dtype"] = torch.float32
            model = AutoPeftModelForCausalLM.from_pretrained(folder, **options).merge_and_unload()
            model = model.to(getattr(torch, dtype))
        else:
            model = AutoModelForCausalLM.from_pretrained(folder, **options)
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder}: cannot be loaded as a causal language model: {error}") from error
    return model.to(device).eval()
