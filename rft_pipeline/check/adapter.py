"""Whether the modules that an adapter is to change are the policy's, by the names of its weights."""

from pathlib import Path

from rft_pipeline.campaign import Campaign
from rft_pipeline.check.context import folder_of
from rft_pipeline.check.result import Findings
from rft_pipeline.merging import is_adapter


def check_adapter(campaign: Campaign, models: Path, settings: Findings) -> None:
    """An error when the policy has none of `lora.target_modules`, a warning when it lacks some. A policy that is not on
    this machine yet, or is an adapter itself, is passed over."""
    folder = folder_of(campaign.policy.model, models, campaign.folder)
    if campaign.training.weights != "lora" or folder is None or is_adapter(folder):
        return
    modules = _modules(folder)
    wanted = campaign.training.lora.target_modules
    absent = [name for name in wanted if not any(f".{module}".endswith(f".{name}") for module in modules)]
    if not modules or not absent:
        return
    last = {module.rpartition(".")[2] for module in modules}
    there = ", ".join(sorted(name for name in last if "norm" not in name and "embed" not in name))
    where = f"{campaign.folder / 'campaign.yaml'}: training.lora.target_modules"
    said = f"{where}: {campaign.policy.model} has no {', '.join(absent)}; its modules are {there}"
    if len(absent) == len(wanted):
        settings.errors.append(said)
    else:
        settings.warnings.append(f"{said}; the others are trained")


def _modules(folder: Path) -> set[str]:
    from safetensors import SafetensorError, safe_open

    names: set[str] = set()
    for file in folder.glob("*.safetensors"):
        try:
            with safe_open(file, framework="numpy") as weights:
                names.update(weights.keys())
        except SafetensorError:
            return set()  # damaged, or on its way
    return {name.removesuffix(".weight") for name in names if name.endswith(".weight")}
