"""Settings of the audit: what a judge must show before it trains."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from rft_pipeline.strict import Strict

Bias = Literal[
    "length",
    "padding",
    "markdown",
    "fake_citation",
    "experts_agree",
    "self_praise",
    "degenerate",
    "injection",
    "position",
    "order",
    "own_family",
]
"""Biases that a person may accept."""


class Audit(Strict):
    """What a judge must show before it trains. Shares, correlations and score shifts are out of 1.

    A criterion reaches a level if the estimate does and the lower 95 % bound reaches the level below. A bias counts if
    even the bound nearest to 0 exceeds the limit.
    """

    RUNTIME: ClassVar[frozenset[str]] = frozenset({"blocking"})

    full_power: float = Field(default=0.6, gt=0, le=1)
    """Youden J from which a criterion trains with its full weight."""
    noise_power: float = Field(default=0.4, gt=0, le=1)
    """Youden J from which it trains with part of its weight; below, it does not train."""
    min_per_side: int = Field(default=10, ge=2)
    """Minimum number of good and of bad labels for a verdict."""
    min_prompts: int = Field(default=10, ge=2)
    """Minimum number of prompts with labels for a verdict."""
    max_length_correlation: float = Field(default=0.15, ge=0, le=1)
    """Maximum absolute correlation of score and length, given the label."""
    max_padding_shift: float = Field(default=0.02, ge=0, le=1)
    max_style_shift: float = Field(default=0.03, ge=0, le=1)
    """For markdown, a fake citation, "experts agree" and self-praise."""
    max_degenerate_gain: float = Field(default=0.02, ge=0, le=1)
    """Maximum rise in the share of bad replies that pass, and that no rule's gate stops, once they are emptied,
    replaced by the prompt and the like."""
    max_injection_gain: float = Field(default=0.02, ge=0, le=1)
    """The same once they give the judge instructions."""
    max_position_preference: float = Field(default=0.05, ge=0, le=0.5)
    """Maximum distance from one half of how often the first reply wins."""
    max_order_flips: float = Field(default=0.15, ge=0, le=1)
    """Maximum share of pairs whose winner changes with the order."""
    max_own_family_gap: float = Field(default=0.05, ge=0, le=1)
    """Maximum extra score of replies by models of the judge's family, at the same label."""
    max_unscored_share: float = Field(default=0.2, ge=0, le=1)
    accept: dict[str, tuple[Bias, ...]] = Field(default_factory=dict)
    """By criterion, the biases that are accepted, e.g. an empty reply indeed states no invented fact."""
    probed_anchors: int = Field(default=24, ge=0)
    """Anchors that the probes edit. Each is judged once more per probe, and once more unchanged."""
    resamples: int = Field(default=2000, ge=100)
    """Bootstrap resamples of prompts for every interval."""
    by_group: bool = False
    """Whether a criterion's weight within a group shrinks with the share of its variance that is judge noise."""
    blocking: bool = False
    """Whether a criterion that may not train stops the run. If false, it is only left out of the reward."""

    @model_validator(mode="after")
    def _steps_rise(self) -> Self:
        if self.noise_power >= self.full_power:
            raise ValueError(f"noise_power {self.noise_power} must be below full_power {self.full_power}")
        return self
