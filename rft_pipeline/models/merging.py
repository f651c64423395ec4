"""A checkpoint as others load it: whole weights and a tokenizer in one folder, a LoRA adapter merged into its base.

Only weights are written from memory. Configuration and tokenizer are those of the checkpoint that training started
from: libraries change them for their own use, and refuse to write some that they read.
"""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

from rft_pipeline.errors import ModelError

log = logging.getLogger(__name__)

CONFIG, GENERATION = "config.json", "generation_config.json"
MANIFEST = "rft_model.json"
"""Where a model that was fetched came from."""
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
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    base = base_of(checkpoint)
    try:
        whole = AutoModelForCausalLM.from_pretrained(
            base, dtype=torch.float32, use_safetensors=True, generation_config=generation_config(base)
        )
    except (OSError, ValueError) as error:
        raise ModelError(f"{checkpoint}: the base model of this adapter, {base}, cannot be loaded: {error}") from error
    write_model(PeftModel.from_pretrained(whole, checkpoint).merge_and_unload(), base, target)
    copy_tokenizer(checkpoint, target)


def write_model(model: Any, start: Path, target: Path, weights: dict[str, Any] | None = None) -> None:
    """Write the weights of `model`, or `weights`, with the configuration of the checkpoint `start` it was loaded from.
    What cannot be kept of `generation_config.json` is left out with a warning."""
    from transformers import GenerationConfig

    whole = base_of(start) if is_adapter(start) else start
    if left_out := saveable_generation(whole)[1]:
        log.warning(f"{whole / GENERATION}: {in_words(left_out)} cannot be saved and is left out of {target}")
    model.config = type(model.config).from_pretrained(whole)
    model.generation_config = generation_config(whole) or GenerationConfig.from_model_config(model.config)
    model.save_pretrained(target, state_dict=weights)


def copy_tokenizer(start: Path, target: Path) -> None:
    """Copy the tokenizer's files, and all other small ones but those that describe weights."""
    ours = {CONFIG, GENERATION, ADAPTER, MANIFEST}
    for path in sorted(start.iterdir()):
        small = path.suffix in {".json", ".jinja", ".model", ".txt"} and not path.name.endswith(".index.json")
        if small and path.name not in ours:
            shutil.copyfile(path, target / path.name)


def generation_config(folder: Path) -> Any:
    """What can be saved of the `generation_config.json` in `folder`, or of a model loaded with it; None without one."""
    from transformers import GenerationConfig

    return GenerationConfig(**saveable_generation(folder)[0]) if (folder / GENERATION).is_file() else None


def saveable_generation(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings of `generation_config.json` that transformers will save, and those it refuses, e.g. a temperature
    where nothing is sampled. None of either where the file is missing.

    Settings are added one by one, those that choose a way to generate first, and left out where they do not go with the
    ones before. Raises `ModelError` for a file that holds no settings.
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
"""Settings that say how to generate, by which others are judged."""


def generation_settings(folder: Path) -> dict[str, Any]:
    """What `generation_config.json` sets, those that choose a way to generate first; nothing where it is missing."""
    path = folder / GENERATION
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise ModelError(f"{path}: not JSON: {error}") from error
    if not isinstance(found, dict):
        raise ModelError(f"{path}: must hold settings by name")
    return dict(sorted(found.items(), key=lambda setting: setting[0] not in _CHOOSES))


def in_words(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name} {json.dumps(value)}" for name, value in settings.items())
