"""The job that a trainer gets."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

    from rft_pipeline.engines.settings import Sampling
    from rft_pipeline.trainers.settings import Training

LogStep = Callable[[int, dict[str, float]], None]
"""Called after each optimiser step with its number (from 1) and its metrics by name."""


@dataclass(frozen=True)
class TrainJob:
    """The inputs of a training."""

    start: Path
    """The checkpoint to train from: full weights, or a LoRA adapter that names its base."""
    base: Path
    """Full weights of the campaign's base model."""
    batch: "pl.DataFrame"
    """rollout_id, prompt_id, sample_index, prompt_tokens, tokens, logprobs, advantage, excluded, and for the selection
    of examples: reward, finish_reason, fields, scores, gated, labelled. Empty for a session, which gets rows."""
    weights: Mapping[str, float]
    """The rubric's weights by criterion; `sft` weighs labels with them."""
    training: "Training"
    sampling: "Sampling"
    """How the batch was sampled. The log-probs in the loss use its temperature but not its `top_p` and `top_k`;
    `dr_grpo` divides by its `max_new_tokens`."""
    seed: int
    scratch: Path
    """The folder for the result: the trainer writes `checkpoint/`."""
    kept: Path
    """The folder of saved states, from which a rerun of a killed job continues."""
    log_step: LogStep
