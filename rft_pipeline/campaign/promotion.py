"""What a round must show on held-out prompts before it becomes the champion."""

from pydantic import Field

from rft_pipeline.strict import Strict


class Promotion(Strict):
    """Margins of the 95 % lower bounds of a round minus the champion; rewards and scores are out of 1."""

    margin: float = Field(default=0.0, ge=0, lt=1)
    """The reward's bound must lie above it."""
    gate_margin: float = Field(default=0.02, ge=0, lt=1)
    """The bound of each criterion that gates must lie above minus this: no worse, give or take."""
    held_out_margin: float = Field(default=0.02, ge=0, lt=1)
    """The same for the held-out judge, where the campaign has one."""
    min_prompts: int = Field(default=20, ge=2)
    """Held-out prompts with rewards on both sides, and with scores of gates and of the held-out judge, below which
    nothing is promoted: a bootstrap interval over fewer is too narrow."""
    min_labelled_prompts: int = Field(default=10, ge=2)
    """Prompts on which people labelled replies of both sides, from which their labels correct what judges say."""
