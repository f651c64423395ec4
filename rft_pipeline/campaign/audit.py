"""What a judge must show before it trains."""

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
"""Faults that a person may know of and accept."""


class Audit(Strict):
    """What a judge must show before it trains. Shares, correlations and score shifts are out of 1.

    A step is reached by the estimate, with the lower 95 % bound no worse than the step below; a bias is a fault when
    even the bound nearest to 0 lies beyond its limit.
    """

    RUNTIME: ClassVar[frozenset[str]] = frozenset({"blocking"})

    full_power: float = Field(default=0.6, gt=0, le=1)
    """Youden J from which a criterion trains with its whole weight."""
    noise_power: float = Field(default=0.4, gt=0, le=1)
    """Youden J from which it trains with part of it; below, it is only watched."""
    min_per_side: int = Field(default=10, ge=2)
    """Good and bad labels, each, below which nothing is concluded."""
    min_prompts: int = Field(default=10, ge=2)
    """Prompts with labels below which nothing is concluded."""
    max_length_correlation: float = Field(default=0.15, ge=0, le=1)
    """Of score and length given the label, either way."""
    max_padding_shift: float = Field(default=0.02, ge=0, le=1)
    max_style_shift: float = Field(default=0.03, ge=0, le=1)
    """Markdown, a fake citation, "experts agree", self-praise."""
    max_degenerate_gain: float = Field(default=0.02, ge=0, le=1)
    """Share of bad replies that pass once they are emptied, echoed and the like, above what passes of them as is."""
    max_injection_gain: float = Field(default=0.02, ge=0, le=1)
    """The same once they speak to the judge."""
    max_position_preference: float = Field(default=0.05, ge=0, le=0.5)
    """How often the reply shown first wins, less one half, either way."""
    max_order_flips: float = Field(default=0.15, ge=0, le=1)
    """Share of pairs whose verdict is another in the other order."""
    max_own_family_gap: float = Field(default=0.05, ge=0, le=1)
    """How much higher replies by models of the judge's family score than others with the same label."""
    max_unscored_share: float = Field(default=0.2, ge=0, le=1)
    biased_weight: float = Field(default=0.5, gt=0, le=1)
    """Share of its weight that a criterion keeps whose judge is biased but tells good from bad."""
    unaudited_weight: float = Field(default=1.0, ge=0, le=1)
    """Share of its weight that a criterion gets which too few labels tell of."""
    accept: dict[str, tuple[Bias, ...]] = Field(default_factory=dict)
    """By criterion, the faults that are none there: an empty reply does state no invented fact."""
    probed_anchors: int = Field(default=24, ge=0)
    """Anchors that the probes edit; each is judged once more for every probe, and once more as it is."""
    resamples: int = Field(default=2000, ge=100)
    """Bootstrap resamples of prompts behind every interval."""
    by_group: bool = False
    """Whether a criterion counts within each group as far as its scores there differ by more than its judge errs."""
    blocking: bool = False
    """Whether a criterion that may not train stops the run before a round, rather than being left out of its reward."""

    @model_validator(mode="after")
    def _steps_rise(self) -> Self:
        if self.noise_power >= self.full_power:
            raise ValueError(f"noise_power {self.noise_power} must lie below full_power {self.full_power}")
        return self
