"""Loading a policy or judge with transformers: full checkpoints and LoRA adapters alike."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rft_pipeline.engines.end_tokens import end_of_turn
from rft_pipeline.errors import ModelError
from rft_pipeline.models.merging import ADAPTER, base_of, generation_config

_WITHOUT_PADDING = ("rwkv", "recurrent_gemma")
"""Architectures whose state, as transformers computes it, counts padding in or cannot take rows of several lengths."""


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
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(end_of_turn(tokenizer))
    return tokenizer


def load_weights(folder: Path, dtype: str, device: str) -> Any:
    """The causal language model in `folder`, a LoRA adapter there merged into the base model it names."""
    import torch

    wanted = getattr(torch, dtype)
    if (folder / ADAPTER).is_file():
        model = load_adapter(folder, device).merge_and_unload().to(wanted)
    else:
        model = _load(folder, wanted)
    return model.to(device).eval()


def load_adapter(folder: Path, device: str, trainable: bool = False) -> Any:
    """The LoRA adapter in `folder` on its fp32 base model."""
    import torch
    from peft import PeftModel

    base = base_of(folder)
    model = PeftModel.from_pretrained(_load(base, torch.float32), folder, is_trainable=trainable)
    model.peft_config["default"].base_model_name_or_path = str(base)
    return model.to(device)


def context_of(config: Mapping[str, Any]) -> int | None:
    """Most tokens that a model reads and writes together, by its config; None when it does not say (ALiBi, Mamba).

    A multimodal model has its language model's settings in `text_config`.
    """
    names = ("max_position_embeddings", "n_positions", "max_sequence_length", "max_seq_len")
    limits = [found.get(name) for found in (config, config.get("text_config") or {}) for name in names]
    return next((limit for limit in limits if isinstance(limit, int)), None)


def refusal_of(config: Mapping[str, Any]) -> str | None:
    """Why a model with this config can be neither policy nor judge; None for a causal language model."""
    kind = config.get("model_type")
    if config.get("is_encoder_decoder"):
        return f"model_type {kind!r} is an encoder-decoder model; use a causal (decoder-only) language model"
    if kind in _WITHOUT_PADDING:
        return f"model_type {kind!r} cannot read rows of several lengths at once; use another architecture"
    return None


def name_base(folder: Path, base: Path) -> None:
    """Let the adapter in `folder` name its base relative to itself, so that both may move together."""
    path = folder / ADAPTER
    config = json.loads(path.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = os.path.relpath(base.resolve(), folder.resolve())
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _load(folder: Path, dtype: Any) -> Any:
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    config = folder / "config.json"
    if config.is_file() and (refusal := refusal_of(json.loads(config.read_text(encoding="utf-8")))):
        raise ModelError(f"{folder}: {refusal}")
    try:
        return AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, generation_config=generation_config(folder)
        )
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder}: cannot be loaded as a causal language model: {error}") from error
