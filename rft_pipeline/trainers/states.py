"""Saved states of a training session, from which a killed training continues. Safetensors and JSON, no pickle."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedType
from safetensors.torch import load_file, save_file

from rft_pipeline.trainers.learner import Generation, Learner
from rft_pipeline.trainers.updates import local

COUNTERS = "trainer_state.json"
"""Written last: a state without it is incomplete."""
GENERATION = "generation.safetensors"
WEIGHT, STEP = "weight", "step"


def save_state(folder: Path, learner: Learner, counters: dict[str, Any], generation: Generation | None) -> None:
    """Write a state into `folder`: trained weights, optimizer, counters, and the log-probs of a generation that has
    begun, because the policy that they belong to no longer exists after a kill. Sharded weights are written by every
    process."""
    accelerator = learner.accelerator
    writing = folder.with_name(f".{folder.name}")
    if accelerator.is_main_process:
        shutil.rmtree(writing, ignore_errors=True)
        writing.mkdir(parents=True)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process or is_sharded(accelerator):
        save_file(_tensors(learner), writing / _file(accelerator))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        if generation is not None:
            save_file(_log_probs(generation), writing / GENERATION)
        (writing / COUNTERS).write_text(json.dumps(counters), encoding="utf-8")
        writing.rename(folder)
        for older in folder.parent.glob("checkpoint-*"):
            if older != folder:
                shutil.rmtree(older)
    accelerator.wait_for_everyone()


def load_state(folder: Path, learner: Learner) -> dict[str, Any]:
    """Load trained weights and optimizer; returns the counters."""
    stored = load_file(folder / _file(learner.accelerator))
    with learner.updates.exact(), torch.no_grad():
        weights, state = dict(learner.updates.updated()), learner.updates.optimizer.state
        for key, value in stored.items():
            kind, _, name = key.partition(".")
            weight = weights[name]
            if kind == STEP:
                state[weight][kind] = value.to(weight.device)
                continue
            kept = weight if kind == WEIGHT else state[weight].setdefault(kind, torch.zeros_like(weight))
            local(kept).copy_(value)
    counters: dict[str, Any] = json.loads((folder / COUNTERS).read_text(encoding="utf-8"))
    return counters


def load_log_probs(folder: Path, generation: Generation) -> None:
    """Load the log-probs of the generation that had begun when the state was saved."""
    for name, value in load_file(folder / GENERATION).items():
        kind, _, row = name.partition(".")
        getattr(generation, kind)[int(row)] = value


def is_sharded(accelerator: Accelerator) -> bool:
    """Whether each process holds a part of the weights."""
    return accelerator.distributed_type == DistributedType.FSDP


def _file(accelerator: Accelerator) -> str:
    return f"training-{accelerator.process_index if is_sharded(accelerator) else 0}.safetensors"


def _tensors(learner: Learner) -> dict[str, torch.Tensor]:
    found = {f"{WEIGHT}.{name}": weight.contiguous() for name, weight in learner.updates.stored()}
    for name, weight in learner.updates.updated():
        # a weight without a gradient so far has no moments, e.g. of an expert that was never chosen
        for moment, value in learner.updates.optimizer.state.get(weight, {}).items():
            found[f"{moment}.{name}"] = local(value).contiguous()
    return found


def _log_probs(generation: Generation) -> dict[str, torch.Tensor]:
    return {
        f"{kind}.{row}": value.contiguous().clone()
        for kind in ("start", "reference", "gaps")
        for row, value in getattr(generation, kind).items()
    }
