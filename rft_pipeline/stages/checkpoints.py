"""Checkpoints: train the policy on a round's reward batch."""

import json
import shutil
from pathlib import Path

import polars as pl

from rft_pipeline.campaign import Training
from rft_pipeline.progress import Progress
from rft_pipeline.store.records import STEPS
from rft_pipeline.trainers import LogStep, TrainJob


def train_checkpoint(
    start: Path,
    base: Path,
    batch: pl.DataFrame,
    training: Training,
    temperature: float,
    seed: int,
    workdir: Path,
    log_step: LogStep,
    progress: Progress,
) -> dict[str, float]:
    """Write `checkpoint/` (safetensors, tokenizer) and `steps.jsonl` into `workdir`.

    `start` is the policy the batch was sampled from at `temperature`, `base` the model the campaign began with.
    Returns the last step's metrics and `steps`. Raises `GateError` when the batch has nothing to teach.
    """
    from rft_pipeline.trainers.grpo import planned_steps, train_grpo

    lines: list[str] = []
    with progress.counting("steps", planned_steps(batch, training, seed)):

        def on_step(step: int, metrics: dict[str, float]) -> None:
            lines.append(json.dumps({"step": step, **metrics}))
            log_step(step, metrics)
            progress.advance(1)

        last = train_grpo(TrainJob(start, base, batch, training, temperature, seed, workdir, on_step))
    (workdir / STEPS).write_text("\n".join(lines) + "\n", encoding="utf-8")
    shutil.rmtree(workdir / "trainer", ignore_errors=True)
    return {**last, "steps": len(lines)}
