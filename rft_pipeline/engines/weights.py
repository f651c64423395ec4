"""Loads a policy or judge with transformers: full checkpoints and LoRA adapters."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rft_pipeline.engines.end_tokens import end_of_turn
from rft_pipeline.errors import ModelError
from rft_pipeline.models.merging import ADAPTER, is_adapter, load_adapter, load_causal


def pick_device(wanted: str) -> str:
    """The device; `auto` is the GPU if there is one."""
    import torch

    if wanted != "auto":
        return wanted
    return "cuda" if torch.cuda.is_available() else "cpu"


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a checkpoint, padding on the left. Raises `ModelError` if it has no chat template."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    if tokenizer.chat_template is None:
        raise ModelError(f"{folder}: the tokenizer has no chat template; use an instruction-tuned model")
    tokenizer.padding_side = "left"
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(end_of_turn(tokenizer))
    return tokenizer


def load_weights(folder: Path, dtype: str, device: str) -> Any:
    """The causal language model in `folder`; a LoRA adapter is merged into its base model."""
    import torch

    wanted = getattr(torch, dtype)
    if is_adapter(folder):
        model = load_adapter(folder, device).merge_and_unload().to(wanted)
    else:
        model = load_causal(folder, wanted)
    return model.to(device).eval()


def context_of(config: Mapping[str, Any]) -> int | None:
    """Maximum number of tokens of prompt and reply together, from the config; None without a limit (ALiBi, Mamba).

    A multimodal model has the settings of its language model in `text_config`.
    """
    names = ("max_position_embeddings", "n_positions", "max_sequence_length", "max_seq_len")
    limits = [found.get(name) for found in (config, config.get("text_config") or {}) for name in names]
    return next((limit for limit in limits if isinstance(limit, int)), None)


def name_base(folder: Path, base: Path) -> None:
    """Store the base of the adapter in `folder` as a relative path, so that both can be moved together."""
    path = folder / ADAPTER
    config = json.loads(path.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = os.path.relpath(base.resolve(), folder.resolve())
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
