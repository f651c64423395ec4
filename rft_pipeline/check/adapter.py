"""Whether an adapter can change the modules it is to, by the names of the policy's weights and its config.json."""

import json
import re
from pathlib import Path
from typing import Any

from rft_pipeline.campaign import ALL_LINEAR, Campaign
from rft_pipeline.check.context import folder_of
from rft_pipeline.check.result import Findings
from rft_pipeline.models.merging import CONFIG, is_adapter

HEADS = {"lm_head", "embed_out"}
"""Modules that turn hidden states into logits. Training multiplies by their weights itself, so that an adapter of them
would never be trained; TRL refuses it."""
EMBEDDINGS = {"embed_tokens", "embed_in", "wte", "word_embeddings"}
"""Modules that turn tokens into hidden states. Where a head shares their weights, merging an adapter of them would
change the head, which was trained without it."""


def check_adapter(campaign: Campaign, models: Path, settings: Findings) -> None:
    """An error when `lora.target_modules` names a head, embeddings that a head shares, or nothing that the policy has.

    A warning when the policy lacks some. One that is not on this machine yet, or is an adapter itself, is passed over.
    """
    folder = folder_of(campaign.policy.model, models, campaign.folder)
    wanted = campaign.training.lora.target_modules
    if campaign.training.weights != "lora" or wanted == ALL_LINEAR or folder is None or is_adapter(folder):
        return
    where = f"{campaign.folder / 'campaign.yaml'}: training.lora.target_modules"
    last = {name: name.rpartition(".")[2] for name in wanted}
    settings.errors += [
        f"{where}: {name} cannot be trained by an adapter: the likelihoods in the loss are computed from its own "
        f"weights; leave it out, or write {ALL_LINEAR} for all linear modules but it"
        for name in wanted
        if last[name] in HEADS
    ]
    shared = [name for name in wanted if last[name] in EMBEDDINGS]
    if shared and _ties_embeddings(folder):
        settings.errors.append(
            f"{where}: {', '.join(shared)} shares its weights with the head of {campaign.policy.model} "
            f"(tie_word_embeddings in {folder / CONFIG}), which an adapter of it would change too; leave it out"
        )
    _check_there(campaign, folder, [name for name in wanted if last[name] not in HEADS], where, settings)


def _check_there(campaign: Campaign, folder: Path, wanted: list[str], where: str, settings: Findings) -> None:
    modules = _modules(folder)
    absent = [name for name in wanted if not any(f".{module}".endswith(f".{name}") for module in modules)]
    if not modules or not absent:
        return
    named = {module.rpartition(".")[2] for module in modules} - HEADS - EMBEDDINGS
    there = ", ".join(sorted(name for name in named if not re.search(r"norm|embed|^ln_|^wpe$", name)))
    said = f"{where}: {campaign.policy.model} has no {', '.join(absent)}; its modules are {there}"
    if len(absent) == len(wanted):
        settings.errors.append(f"{said}. Write {ALL_LINEAR} for all of them")
    else:
        settings.warnings.append(f"{said}; the others are trained")


def _modules(folder: Path) -> set[str]:
    """Those with weights; without the experts of a mixture, which are one module of stacked weights once loaded."""
    from safetensors import SafetensorError, safe_open

    names: set[str] = set()
    for file in folder.glob("*.safetensors"):
        try:
            with safe_open(file, framework="numpy") as weights:
                names.update(weights.keys())
        except SafetensorError:
            return set()  # damaged, or on its way
    modules = {name.removesuffix(".weight") for name in names if name.endswith(".weight")}
    return {name for name in modules if not re.search(r"\.experts\.\d+\.", name)}


def _ties_embeddings(folder: Path) -> bool:
    """What config.json says, or else the default of its architecture."""
    config: dict[str, Any] = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    for named in (config, config.get("text_config") or {}):
        if "tie_word_embeddings" in named:
            return bool(named["tie_word_embeddings"])
    from transformers import AutoConfig

    return bool(AutoConfig.from_pretrained(folder).get_text_config().tie_word_embeddings)
