"""Loads a policy or judge with transformers: full checkpoints and LoRA adapters."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rft_pipeline.engines.end_tokens import end_of_turn
from rft_pipeline.errors import ModelError
from rft_pipeline.models.merging import ADAPTER, is_adapter, load_adapter, load_causal, write_model
from rft_pipeline.rounding import narrowed, rounded

if TYPE_CHECKING:
    import torch


def pick_device(wanted: str) -> str:
    """The device; `auto` is the GPU if there is one."""
    import torch

    if wanted != "auto":
        return wanted
    return "cuda" if torch.cuda.is_available() else "cpu"


def pick_dtype(wanted: str, device: str) -> str:
    """The number format for a device (not `auto`); `auto` is bfloat16 where the device has instructions for it.

    A CPU without them takes many times as long in bfloat16 as in float32.
    """
    import torch

    if wanted != "auto":
        return wanted
    has = torch.cpu.get_capabilities()  # of ARM's flags none is known to say that PyTorch uses it
    native = device != "cpu" or has.get("avx512_bf16") or has.get("amx_bf16")
    return "bfloat16" if native else "float32"


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
        model = load_adapter(folder, device).merge_and_unload()
        if wanted == torch.bfloat16:
            with torch.no_grad():
                for name, weight in model.named_parameters():
                    weight.copy_(rounded(name, weight, seed=0))
        model = model.to(wanted)
    else:
        model = load_causal(folder, wanted)
    return model.to(device).eval()


def replace_weights(model: Any, weights: Iterable[tuple[str, "torch.Tensor"]]) -> None:
    """Give the model other weights: the given tensors themselves where they have its type and device, which saves
    their memory, else copies. A model in bfloat16 gets float32 weights rounded (see `rounding`). They are replaced as
    they come, so that an old and a new set are never in memory together.

    Raises `ModelError` for names or shapes that are not the model's, which then has some of the new weights.
    """
    import torch

    replaced: set[int] = set()
    with torch.no_grad():
        for name, own, tensor in _matched(model, weights):
            if id(own) in replaced:  # of tied weights one is enough
                continue
            replaced.add(id(own))
            if (tensor.dtype, tensor.device) == (own.dtype, own.device):
                own.data = tensor.detach()
                continue
            narrow = tensor.dtype == torch.float32 and own.dtype == torch.bfloat16
            own.copy_(narrowed(name, tensor, seed=0) if narrow else tensor)


def write_weights(folder: Path, weights: Iterable[tuple[str, "torch.Tensor"]], target: Path) -> None:
    """Write a checkpoint of the model in `folder` (full weights) with other `weights` into `target`, no tokenizer.

    Raises `ModelError` for names or shapes that are not the model's.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
    given = {name: tensor for name, _, tensor in _matched(model, weights)}
    write_model(model, folder, target, given)


def _matched(
    model: Any, weights: Iterable[tuple[str, "torch.Tensor"]]
) -> Iterator[tuple[str, "torch.Tensor", "torch.Tensor"]]:
    """Each name with the model's own tensor and the given one. Tied weights are one tensor with several names, of which
    one must be given. Raises `ModelError` at the first that is not the model's, and at the end if some are missing."""
    mine: dict[str, torch.Tensor] = dict(model.state_dict(keep_vars=True))
    missing = {id(tensor): name for name, tensor in reversed(mine.items())}

    def refusal(fault: str) -> ModelError:
        return ModelError(
            f"the weights are not those of {type(model).__name__}: {fault}; "
            "give the names of the model's state_dict, with adapters merged"
        )

    for name, tensor in weights:
        if name not in mine:
            raise refusal(f"unknown: {name}")
        own = mine[name]
        if tensor.shape != own.shape:
            raise refusal(f"of another shape: {name} {tuple(tensor.shape)} instead of {tuple(own.shape)}")
        missing.pop(id(own), None)
        yield name, own, tensor
    if missing:
        raise refusal(f"missing: {_first(list(reversed(missing.values())))}")


def _first(names: list[str], shown: int = 3) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


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
