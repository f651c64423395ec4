"""Checks `lora.target_modules` against the policy's weight names and config.json."""

import json
import re
from pathlib import Path
from typing import Any

from rft_pipeline.campaign import ALL_LINEAR, Campaign
from rft_pipeline.check.result import Findings
from rft_pipeline.models import folder_of
from rft_pipeline.models.merging import CONFIG, is_adapter

HEADS = {"lm_head", "embed_out"}
"""Output heads. Training multiplies by their weights directly, so an adapter on them would not be trained; TRL refuses
it."""
EMBEDDINGS = {"embed_tokens", "embed_in", "wte", "word_embeddings"}
"""Input embeddings. If the head shares their weights, merging an adapter on them would also change the head."""


def check_adapter(campaign: Campaign, models: Path, settings: Findings) -> None:
    """An error if `lora.target_modules` names a head, embeddings that share the head's weights, or no existing module;
    a warning if some modules do not exist. Skips a policy that is not on this machine, or is an adapter.
    """
    folder = folder_of(campaign.policy.model, models, campaign.folder)
    wanted = campaign.training.lora.target_modules
    if campaign.training.weights != "lora" or wanted == ALL_LINEAR or folder is None or is_adapter(folder):
        return
    where = f"{campaign.folder / 'campaign.yaml'}: training.lora.target_modules"
    last = {name: name.rpartition(".")[2] for name in wanted}
    settings.errors += [
        f"{where}: {name} cannot have an adapter: the loss computes likelihoods from the original weights; remove it, "
        f"or write {ALL_LINEAR} for all linear modules except the head"
        for name in wanted
        if last[name] in HEADS
    ]
    shared = [name for name in wanted if last[name] in EMBEDDINGS]
    if shared and _ties_embeddings(folder):
        settings.errors.append(
            f"{where}: {', '.join(shared)} shares its weights with the head of {campaign.policy.model} "
            f"(tie_word_embeddings in {folder / CONFIG}), which its adapter would change too; remove it"
        )
    _check_exist(campaign, folder, [name for name in wanted if last[name] not in HEADS], where, settings)


def _check_exist(campaign: Campaign, folder: Path, wanted: list[str], where: str, settings: Findings) -> None:
    modules = _modules(folder)
    absent = [name for name in wanted if not any(f".{module}".endswith(f".{name}") for module in modules)]
    if not modules or not absent:
        return
    named = {module.rpartition(".")[2] for module in modules} - HEADS - EMBEDDINGS
    linear = ", ".join(sorted(name for name in named if not re.search(r"norm|embed|^ln_|^wpe$", name)))
    message = f"{where}: {campaign.policy.model} has no {', '.join(absent)}; its modules are {linear}"
    if len(absent) == len(wanted):
        settings.errors.append(f"{message}. Write {ALL_LINEAR} for all of them")
    else:
        settings.warnings.append(f"{message}; the others are trained")


def _modules(folder: Path) -> set[str]:
    """Modules with weights, without single experts: these are one stacked module once loaded."""
    from safetensors import SafetensorError, safe_open

    names: set[str] = set()
    for file in folder.glob("*.safetensors"):
        try:
            with safe_open(file, framework="numpy") as weights:
                names.update(weights.keys())
        except SafetensorError:
            return set()  # damaged or incomplete
    modules = {name.removesuffix(".weight") for name in names if name.endswith(".weight")}
    return {name for name in modules if not re.search(r"\.experts\.\d+\.", name)}


def _ties_embeddings(folder: Path) -> bool:
    """From config.json, or the default of the architecture."""
    config: dict[str, Any] = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    for named in (config, config.get("text_config") or {}):
        if "tie_word_embeddings" in named:
            return bool(named["tie_word_embeddings"])
    from transformers import AutoConfig

    return bool(AutoConfig.from_pretrained(folder).get_text_config().tie_word_embeddings)
