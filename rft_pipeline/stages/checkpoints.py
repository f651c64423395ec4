"""Checkpoints: train the policy on a round's reward batch."""

import json
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from rft_pipeline.campaign import Sampling, Training
from rft_pipeline.progress import Progress
from rft_pipeline.store.records import STEPS
from rft_pipeline.trainers import LogStep, TrainJob
from rft_pipeline.trainers.kept import steps_done
from rft_pipeline.trainers.steps import planned_steps


def train_checkpoint(
    start: Path,
    base: Path,
    batch: pl.DataFrame,
    weights: Mapping[str, float],
    training: Training,
    sampling: Sampling,
    seed: int,
    workdir: Path,
    kept: Path,
    log_step: LogStep,
    progress: Progress,
) -> dict[str, float]:
    """Write `checkpoint/` (safetensors, tokenizer) and `steps.jsonl` into `workdir`.

    `start` is the policy the batch was sampled from as `sampling` says, `base` the model the campaign began with,
    `weights` the rubric's. What a killed run left in `kept` is gone on from. Returns the last step's metrics and
    `steps`. Raises `GateError` when the batch has nothing to teach.
    """
    from rft_pipeline.trainers.launching import train_launched
    from rft_pipeline.trainers.methods import METHODS

    lines: list[str] = []

    def on_step(step: int, metrics: dict[str, float]) -> None:
        lines.append(json.dumps({"step": step, **metrics}))
        log_step(step, metrics)
        progress.advance(step > before)

    job = TrainJob(start, base, batch, weights, training, sampling, seed, workdir, kept, on_step)
    train = METHODS[training.method] if training.runtime.processes == 1 else train_launched
    before = steps_done(kept, training)
    with progress.counting("steps", planned_steps(batch, training, weights) - before):
        last = train(job)
    (workdir / STEPS).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {**last, "steps": len(lines)}
