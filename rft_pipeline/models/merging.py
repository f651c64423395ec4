"""Loads checkpoints and LoRA adapters, and writes checkpoints with whole weights and a tokenizer.

Only weights are written from memory. Configuration and tokenizer are copied from the checkpoint that training started
from, because libraries change them after loading and refuse to write some settings that they read.
"""

import json
import logging
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rft_pipeline.errors import ModelError
from rft_pipeline.rounding import all_rounded

log = logging.getLogger(__name__)

CONFIG, GENERATION = "config.json", "generation_config.json"
MANIFEST = "rft_model.json"
"""The file with the source and hash of a fetched model."""
ADAPTER = "adapter_config.json"
"""The file that makes a checkpoint a LoRA adapter."""
_WITHOUT_PADDING = ("rwkv", "recurrent_gemma")
"""Architectures whose state in transformers includes padding or cannot take rows of different lengths."""


def is_adapter(checkpoint: Path) -> bool:
    return (checkpoint / ADAPTER).is_file()


def base_of(checkpoint: Path) -> Path:
    """The folder of an adapter's base model, whether it exists or not."""
    named: str = json.loads((checkpoint / ADAPTER).read_text(encoding="utf-8"))["base_model_name_or_path"]
    return (checkpoint / named).resolve()


def existing_base(checkpoint: Path) -> Path:
    """The folder of an adapter's base model. Raises `ModelError` if it does not exist."""
    base = base_of(checkpoint)
    if not base.is_dir():
        raise ModelError(f"{checkpoint}: the base model of this adapter, {base}, does not exist")
    return base


def refusal_of(config: Mapping[str, Any]) -> str | None:
    """Why a model with this config can be neither policy nor judge; None for a causal language model."""
    kind = config.get("model_type")
    if config.get("is_encoder_decoder"):
        return f"model_type {kind!r} is an encoder-decoder model; use a causal (decoder-only) language model"
    if kind in _WITHOUT_PADDING:
        return f"model_type {kind!r} cannot process rows of different lengths in one batch; use another architecture"
    return None


def load_causal(folder: Path, dtype: Any) -> Any:
    """The causal language model in `folder`. Raises `ModelError`."""
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    config = folder / CONFIG
    if config.is_file() and (refusal := refusal_of(json.loads(config.read_text(encoding="utf-8")))):
        raise ModelError(f"{folder}: {refusal}")
    try:
        return AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, generation_config=generation_config(folder)
        )
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder}: cannot be loaded as a causal language model: {error}") from error


def load_adapter(folder: Path, device: str = "cpu", *, trainable: bool = False) -> Any:
    """The LoRA adapter in `folder` on its fp32 base model. Raises `ModelError`."""
    import torch
    from peft import PeftModel

    base = existing_base(folder)
    model = PeftModel.from_pretrained(load_causal(base, torch.float32), folder, is_trainable=trainable)
    model.peft_config["default"].base_model_name_or_path = str(base)
    return model.to(device)


def merged_weights(model: Any) -> Iterator[tuple[str, Any]]:
    """The weights of a LoRA model with the adapter added, named as in its base model, one after the other. The model is
    not changed, and sums are moved to the CPU: on a GPU, all of them together would take as much as the model."""
    import torch

    plain = model.get_base_model()
    layers = {name: module for name, module in plain.named_modules() if hasattr(module, "base_layer")}
    with torch.no_grad():
        for name, value in plain.state_dict().items():
            if ".lora_" in name:
                continue
            owner, _, leaf = name.partition(".base_layer.")
            if leaf == "weight" and owner in layers:
                value = (value + layers[owner].get_delta_weight("default").to(value.dtype)).cpu()
            yield f"{owner}.{leaf}" if leaf else name, value


def write_whole(checkpoint: Path, target: Path) -> None:
    """Write whole weights (safetensors) and the tokenizer into `target`: a copy, or the adapter merged in fp32.

    Raises `ModelError` if an adapter's base cannot be loaded.
    """
    if not is_adapter(checkpoint):
        shutil.copytree(checkpoint, target, dirs_exist_ok=True)
        return
    write_model(load_adapter(checkpoint).merge_and_unload(), base_of(checkpoint), target)
    copy_tokenizer(checkpoint, target)


def write_model(model: Any, start: Path, target: Path, weights: Mapping[str, Any] | None = None, seed: int = 0) -> None:
    """Write the weights of `model`, or `weights`, with the configuration of `start`, the checkpoint it was loaded from.
    If that is in bfloat16, the weights are rounded to it by `seed`, so that all who load them have the same policy;
    else `model` is changed to float32 before it is written.
    Settings of `generation_config.json` that cannot be saved are left out with a warning."""
    import torch
    from transformers import GenerationConfig

    whole = base_of(start) if is_adapter(start) else start
    if left_out := saveable_generation(whole)[1]:
        log.warning(f"{whole / GENERATION}: {in_words(left_out)} cannot be saved and is left out of {target}")
    model.config = type(model.config).from_pretrained(whole)
    model.generation_config = generation_config(whole) or GenerationConfig.from_model_config(model.config)
    if model.config.dtype != torch.bfloat16:
        model.float().save_pretrained(target, state_dict=weights)
        return
    model.save_pretrained(target, state_dict=all_rounded(model.state_dict() if weights is None else weights, seed))
    config = target / CONFIG  # it names the format of the model in memory
    settings = json.loads(config.read_text(encoding="utf-8")) | {"dtype": "bfloat16"}
    config.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def copy_tokenizer(start: Path, target: Path) -> None:
    """Copy the tokenizer's files, and all other small files except those that describe weights."""
    ours = {CONFIG, GENERATION, ADAPTER, MANIFEST}
    for path in sorted(start.iterdir()):
        small = path.suffix in {".json", ".jinja", ".model", ".txt"} and not path.name.endswith(".index.json")
        if small and path.name not in ours:
            shutil.copyfile(path, target / path.name)


def generation_config(folder: Path) -> Any:
    """The settings of `generation_config.json` in `folder` that can be saved; None if the file does not exist."""
    from transformers import GenerationConfig

    return GenerationConfig(**saveable_generation(folder)[0]) if (folder / GENERATION).is_file() else None


def saveable_generation(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings of `generation_config.json` that transformers saves, and those that it refuses, e.g. a temperature
    without sampling. Both are empty if the file does not exist.

    Settings are added one by one, those that choose the generation mode first. A setting that conflicts with earlier
    ones is left out. Raises `ModelError` for a file without settings.
    """
    from transformers import GenerationConfig

    kept: dict[str, Any] = {}
    left_out: dict[str, Any] = {}
    for name, value in generation_settings(folder).items():
        try:
            GenerationConfig(**kept, **{name: value}).validate(strict=True)
        except (ValueError, TypeError, AttributeError):
            left_out[name] = value
        else:
            kept[name] = value
    return kept, left_out


_CHOOSES = ("do_sample", "num_beams", "use_cache", "return_dict_in_generate")
"""Settings that choose the generation mode; other settings must fit them."""


def generation_settings(folder: Path) -> dict[str, Any]:
    """The settings of `generation_config.json`, those that choose the mode first; empty without the file."""
    path = folder / GENERATION
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise ModelError(f"{path}: not JSON: {error}") from error
    if not isinstance(found, dict):
        raise ModelError(f"{path}: must be an object of settings")
    return dict(sorted(found.items(), key=lambda setting: setting[0] not in _CHOOSES))


def in_words(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name} {json.dumps(value)}" for name, value in settings.items())
