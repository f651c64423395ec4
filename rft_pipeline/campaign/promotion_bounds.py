"""What a round must show on held-out prompts before it becomes the champion."""

from pydantic import Field

from rft_pipeline.strict import Strict


class Promotion(Strict):
    """Margins for the lower bounds of round minus champion. Rewards and scores are in [0, 1]."""

    error: float = Field(default=0.05, gt=0, lt=0.5)
    """Chance of promoting a round that truly fails one of the bounds, over all rounds and all decisions on the same
    held-out prompts. Decision k on them spends error / (k(k+1)), shared equally among its rounds."""
    margin: float = Field(default=0.0, ge=0, lt=1)
    """The lower bound of the reward must be above this."""
    gate_margin: float = Field(default=0.02, ge=0, lt=1)
    """The lower bound of each criterion with a gate must be above minus this."""
    held_out_margin: float = Field(default=0.02, ge=0, lt=1)
    """The same for the score of the alarms' judge, if the campaign has one."""
    min_prompts: int = Field(default=20, ge=2)
    """Minimum number of held-out prompts with rewards, gate scores and scores by the alarms' judge on both sides. With
    fewer, nothing is promoted: the intervals are unreliable."""
    min_labelled_prompts: int = Field(default=10, ge=2)
    """Minimum number of prompts with labels on both sides before labels correct the judges' scores."""
    min_decided_pairs: int = Field(default=20, ge=2)
    """Minimum number of blind pairs of a round and the champion that people decided before their preference counts."""
