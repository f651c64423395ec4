"""What every trainer is handed, and what it gives back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from rft_pipeline.engines.settings import Sampling
from rft_pipeline.trainers.settings import Training

LogStep = Callable[[int, dict[str, float]], None]
"""Called after each optimiser step with its number (from 1) and its metrics by name."""


@dataclass(frozen=True)
class TrainJob:
    """Everything a trainer needs."""

    start: Path
    """The checkpoint to train from: full weights, or a LoRA adapter that names its base."""
    base: Path
    """Full weights of the model the campaign began with."""
    batch: pl.DataFrame
    """rollout_id, prompt_id, sample_index, prompt_tokens, tokens, logprobs, advantage, excluded, and what methods
    choose by: reward, finish_reason, fields, scores, gated, labelled."""
    weights: Mapping[str, float]
    """The rubric's, by criterion; what people's labels of several criteria count for."""
    training: Training
    sampling: Sampling
    """How the batch was sampled. The log-probs in the loss are at its temperature, over all tokens whatever `top_p` and
    `top_k` are; `dr_grpo` divides by its `max_new_tokens`."""
    seed: int
    scratch: Path
    """Gets the checkpoint, as `checkpoint/`."""
    kept: Path
    """Outlives a killed process: holds what a rerun of the same job goes on from."""
    log_step: LogStep
