"""Checks that checkpoints can keep the policy's generation settings."""

from pathlib import Path
from typing import Any

from rft_pipeline.campaign import Campaign
from rft_pipeline.check.result import Findings
from rft_pipeline.errors import ModelError
from rft_pipeline.models import folder_of
from rft_pipeline.models.merging import GENERATION, generation_settings, in_words, is_adapter, saveable_generation

_ALWAYS_SAVED = {
    "_from_model_config",
    "bos_token_id",
    "do_sample",
    "eos_token_id",
    "max_length",
    "repetition_penalty",
    "transformers_version",
}
_SAVED_AS = {"output_attentions": False, "output_hidden_states": False, "use_cache": True}
"""Settings that transformers itself writes with a model, as long as they have these values."""
_SAVED_WHERE_SAMPLED = {"temperature", "top_k", "top_p", "min_p"}


def check_saving(campaign: Campaign, models: Path, settings: Findings) -> None:
    """A warning for settings in the policy's `generation_config.json` that checkpoints cannot keep. Skips a policy that
    is not on this machine, or is an adapter."""
    folder = folder_of(campaign.policy.model, models, campaign.folder)
    if folder is None or is_adapter(folder):
        return
    where = f"{campaign.folder / 'campaign.yaml'}: policy.model"
    try:
        named = generation_settings(folder)
        left_out = {} if _surely_saved(named) else saveable_generation(folder)[1]
    except ModelError as error:
        settings.errors.append(f"{where}: {error}")
        return
    if left_out:
        settings.warnings.append(
            f"{where}: {folder / GENERATION}: {in_words(left_out)} contradicts other settings in the file, and "
            "transformers does not save such a file; checkpoints are written without it. Correct the file to keep it "
            "(temperature, top_p and top_k need do_sample true)"
        )


def _surely_saved(named: dict[str, Any]) -> bool:
    """Whether the settings can be saved for certain, so that transformers (seconds to import) is not needed."""
    sampled = _SAVED_WHERE_SAMPLED if named.get("do_sample") is True else set()
    pad = named.get("pad_token_id")
    named = {name: value for name, value in named.items() if name not in _SAVED_AS or value is not _SAVED_AS[name]}
    return named.keys() <= _ALWAYS_SAVED | sampled | {"pad_token_id"} and (pad is None or pad >= 0)
