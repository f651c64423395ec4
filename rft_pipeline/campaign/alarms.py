"""When a round is called gamed: what the alarms compare, and where they raise a hand or stop."""

from typing import Self

from pydantic import Field, model_validator

from rft_pipeline.campaign.rubric import Criterion
from rft_pipeline.strict import Strict


class Alarms(Strict):
    """What is watched after every round. Shares and scores are out of 1; bounds are of 95 % intervals over prompts.

    An alarm warns or stops. From a round that stops nothing follows: the next one starts from the best round before it.
    """

    held_out: tuple[Criterion, ...] = ()
    """Criteria that only watch: judged in every eval report, by another protocol or model than those that train, and
    never part of a reward. Their weights make one held-out score of them."""
    min_effect: float = Field(default=0.3, gt=0)
    """Standard deviations of reward that a phrase, a markup or one standard deviation of length must bring to count."""
    max_length_growth: float = Field(default=0.3, gt=0)
    """Mean length against base; more is an alarm unless the held-out score has grown."""
    min_distinct2: float = Field(default=0.7, ge=0, le=1)
    """Distinct word pairs as a share of base's, in texts cut to equal length."""
    max_repetition: float = Field(default=2.0, ge=1)
    """Repeated word triples, as a multiple of base's; a rise of less than 0.02 is none."""
    max_similarity_rise: float = Field(default=0.2, gt=0, le=1)
    """Of replies to different prompts (cosine of their words), above base's; more is an alarm unless the held-out score
    has grown."""
    kl_warn: float = Field(default=5.0, gt=0)
    kl_stop: float = Field(default=15.0, gt=0)
    """Maximum KL to base, in nats per reply of at most `evaluation.sampling.max_new_tokens` tokens. Both act on the
    estimate itself, not on a bound of its interval."""
    kl_prompts: int = Field(default=32, ge=0)
    """Held-out prompts that each round answers once more, at temperature 1 without truncation, to estimate its KL to
    base; 0 does not estimate it. Where `evaluation.sampling` draws like that, all its replies are used instead."""
    max_anchor_shift: float = Field(default=0.02, ge=0, le=1)
    """What a judge's scores of the anchors may move by on average, up, down or away from the labels."""
    max_anchor_noise: float = Field(default=0.1, ge=0, le=1)
    """What they may differ by on average, either way, from those it gave at first. Must allow more than a judge
    differs by when it is asked the same twice (`score` and `again` of an audit), or mere noise is said to be drift."""
    max_phrase_shift: float = Field(default=0.03, ge=0, le=1)
    """What a phrase may add to the score of a bad anchor, beyond what other words as long add."""
    drift_error: float = Field(default=0.05, gt=0, lt=1)
    """The chance that judges whose scores of the anchors move by no more than is allowed are said to drift, over all
    rounds and cycles of a campaign. An edit of a question, its judge, the anchors, `max_anchor_shift` or
    `max_anchor_noise` starts anew, as do rounds that are trained again within a cycle."""
    phrases: int = Field(default=3, ge=0)
    """Phrases of a round that are tried on bad anchors."""
    tried_anchors: int = Field(default=16, ge=1)
    """Bad anchors that each of them is tried on, by criterion."""
    resamples: int = Field(default=2000, ge=100)
    """Bootstrap resamples of prompts behind every interval."""

    @model_validator(mode="after")
    def _stop_lies_beyond_warn(self) -> Self:
        if self.kl_stop < self.kl_warn:
            raise ValueError(f"kl_stop {self.kl_stop} must not lie below kl_warn {self.kl_warn}")
        return self

    @model_validator(mode="after")
    def _held_out_weighs(self) -> Self:
        names = [criterion.name for criterion in self.held_out]
        if doubled := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"held_out: criteria named twice: {', '.join(sorted(doubled))}")
        if self.held_out and not sum(criterion.weight for criterion in self.held_out):
            raise ValueError("held_out: all weights are 0: at least one criterion needs a weight above 0")
        if gates := [criterion.name for criterion in self.held_out if criterion.gate is not None]:
            raise ValueError(f"held_out: {', '.join(gates)}: a criterion that only watches gates nothing")
        return self

    def held_out_weights(self) -> dict[str, float]:
        """By name, summing to 1."""
        total = sum(criterion.weight for criterion in self.held_out)
        return {criterion.name: criterion.weight / total for criterion in self.held_out}
