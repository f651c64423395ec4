"""What a round must show on held-out prompts before it becomes the champion."""

from pydantic import Field

from rft_pipeline.strict import Strict


class Promotion(Strict):
    """Margins of the lower bounds of a round minus the champion; rewards and scores are out of 1."""

    error: float = Field(default=0.05, gt=0, lt=0.5)
    """The chance of promoting a round that fails one of the bounds in truth, over all rounds and all decisions on the
    same held-out prompts. Decision k on them spends error / (k(k+1)), shared equally among its rounds."""
    margin: float = Field(default=0.0, ge=0, lt=1)
    """The reward's bound must lie above it."""
    gate_margin: float = Field(default=0.02, ge=0, lt=1)
    """The bound of each criterion that gates must lie above minus this: no worse, give or take."""
    held_out_margin: float = Field(default=0.02, ge=0, lt=1)
    """The same for the held-out judge, where the campaign has one."""
    min_prompts: int = Field(default=20, ge=2)
    """Held-out prompts with rewards on both sides, and with scores of gates and of the held-out judge, below which
    nothing is promoted: an interval over fewer cannot be trusted."""
    min_labelled_prompts: int = Field(default=10, ge=2)
    """Prompts on which people labelled replies of both sides, from which their labels correct what judges say."""
