"""Checks that training can start: its launch, the references of a warm start, and the method's own warnings."""

import json
from pathlib import Path

import polars as pl

from rft_pipeline.campaign import Campaign, read_yaml
from rft_pipeline.check.result import Findings
from rft_pipeline.rules.base import REFERENCE
from rft_pipeline.rules.values import text_of
from rft_pipeline.stages.warm_start import no_references, references_of
from rft_pipeline.trainers.methods import METHODS


def check_training(campaign: Campaign, train: pl.DataFrame | None, store: Path, settings: Findings) -> None:
    """Errors and warnings of training and warm start. `store` has the pairs that people decided."""
    where, training = campaign.folder / "campaign.yaml", campaign.training
    if wrong := _launch_error(campaign):
        settings.errors.append(f"{where}: training.runtime.accelerate_config: {wrong}")
    if training.warm_start is not None and campaign.policy.is_served:
        settings.errors.append(f"{where}: training.warm_start: a served policy has no weights here to train; remove it")
    if training.warm_start is not None and train is not None and references_of(train, campaign, store).is_empty():
        settings.errors.append(f"{where}: {no_references(campaign)}")
    has_references = train is None or _has_references(train)
    for key, why in training.how.warnings(training, campaign.rollouts.sampling, has_references):
        settings.warnings.append(f"{where}: {key}: {why}")


def _launch_error(campaign: Campaign) -> str | None:
    """What is wrong with the file that says how processes are launched; None if nothing is, or there is none.

    Raises `ConfigError` if it cannot be read.
    """
    training = campaign.training
    config = training.from_folder(campaign.folder).runtime.accelerate_config
    if config is None:
        return None
    if not Path(config).is_file():
        return f"{config} does not exist; write it with `accelerate config --config_file {config}`"
    if read_yaml(Path(config)).get("distributed_type") != "DEEPSPEED":
        return None
    methods = [training.method, *([training.warm_start.method] if training.warm_start else [])]
    if refused := [method for method in methods if not METHODS[method].takes_deepspeed]:
        return (
            f"{config} asks for DeepSpeed, which {' and '.join(refused)} cannot train with, because its gradients and "
            "moments cannot be saved within a round; use distributed_type: FSDP, which shards the same "
            "(docs/scaling.md)"
        )
    return None


def _has_references(train: pl.DataFrame) -> bool:
    return any(text_of(json.loads(fields).get(REFERENCE)) for fields in train["fields"])
