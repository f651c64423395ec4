"""Settings of the alarms: which signs of a gamed judge are checked after each round, and their limits."""

from typing import Self

from pydantic import Field, model_validator

from rft_pipeline.campaign.rubric import Criterion, check_criteria, weights_of
from rft_pipeline.strict import Strict


class Alarms(Strict):
    """Limits that are checked after each round. Shares and scores are in [0, 1]; bounds are those of 95 % intervals.

    An alarm warns or stops. After a stop, the next round starts from the best earlier round.
    """

    held_out: tuple[Criterion, ...] = ()
    """The criteria of the alarms' judge: judged in every eval report and never part of a reward. They use another
    protocol or model than the criteria that train. Their weighted mean is the score of the alarms' judge."""
    min_effect: float = Field(default=0.3, gt=0)
    """Minimum effect of a phrase, of markup, or of one standard deviation of length, in standard deviations of
    reward."""
    max_length_growth: float = Field(default=0.3, gt=0)
    """Maximum growth of the mean length over base, unless the score of the alarms' judge has grown too."""
    min_distinct2: float = Field(default=0.7, ge=0, le=1)
    """Minimum share of distinct word pairs, relative to base, in texts cut to equal length."""
    max_repetition: float = Field(default=2.0, ge=1)
    """Maximum share of repeated word triples, as a multiple of base's; a rise below 0.02 is ignored."""
    max_similarity_rise: float = Field(default=0.2, gt=0, le=1)
    """Maximum rise over base in the similarity of replies to different prompts (cosine of their words), unless the
    score of the alarms' judge has grown too."""
    fixed_phrase_warn: float = Field(default=0.3, ge=0, le=1)
    fixed_phrase_stop: float = Field(default=0.5, ge=0, le=1)
    """Maximum growth over base of the share of replies with the same phrase of three or more words. Phrases of the
    prompt do not count. It stops a round only if the score of the alarms' judge is known and has not grown."""
    system_words_warn: float = Field(default=0.1, ge=0, le=1)
    system_words_stop: float = Field(default=0.3, ge=0, le=1)
    """Maximum growth over base of the share of a reply's words that it copies from the system prompt, in runs of four
    or more."""
    prompt_beginning_warn: float = Field(default=0.1, ge=0, le=1)
    prompt_beginning_stop: float = Field(default=0.3, ge=0, le=1)
    """Maximum growth over base of the share of replies that begin with the first four words of their prompt."""
    keyword_list_warn: float = Field(default=0.1, ge=0, le=1)
    keyword_list_stop: float = Field(default=0.3, ge=0, le=1)
    """Maximum growth over base of the share of replies that have three or more words, and none of the common words that
    a fifth of the prompts contain. A limit of 1 of these four alarms never fires: set it where a round should learn
    exactly this."""
    kl_warn: float = Field(default=5.0, gt=0)
    kl_stop: float = Field(default=15.0, gt=0)
    """Maximum KL to base, in nats per reply, thought included, of at most as many tokens as `evaluation.sampling`
    allows. Both are compared with the estimate, not with a bound of its interval."""
    kl_prompts: int = Field(default=32, ge=0)
    """Held-out prompts that each round answers once more, at temperature 1 without truncation, to estimate its KL to
    base. 0 disables the estimate. If `evaluation.sampling` already samples like that, all its replies are used."""
    max_anchor_shift: float = Field(default=0.02, ge=0, le=1)
    """Maximum mean change of a judge's anchor scores: up, down, or away from the labels."""
    max_anchor_noise: float = Field(default=0.1, ge=0, le=1)
    """Maximum mean absolute difference from the first scores of the same judge. It must exceed the judge's own retest
    difference (`score` and `retest_score` in `judge_audit.parquet`); otherwise noise is reported as drift."""
    max_phrase_shift: float = Field(default=0.03, ge=0, le=1)
    """Maximum that a phrase may add to the score of a bad anchor, beyond other words of the same length."""
    drift_error: float = Field(default=0.05, gt=0, lt=1)
    """Chance of a false drift alarm for judges within these limits, over all rounds and cycles of a campaign. It starts
    again after an edit of a question, its judge, the anchors, `max_anchor_shift` or `max_anchor_noise`, and when rounds
    are retrained within a cycle."""
    phrases: int = Field(default=3, ge=0)
    """Phrases of a round that are tested on bad anchors."""
    resamples: int = Field(default=2000, ge=100)
    """Bootstrap resamples of prompts for every interval."""

    @model_validator(mode="after")
    def _stop_is_above_warn(self) -> Self:
        for name in ("fixed_phrase", "system_words", "prompt_beginning", "keyword_list", "kl"):
            warn, stop = getattr(self, f"{name}_warn"), getattr(self, f"{name}_stop")
            if stop < warn:
                raise ValueError(f"{name}_stop {stop} must not be below {name}_warn {warn}")
        return self

    @model_validator(mode="after")
    def _held_out_is_sound(self) -> Self:
        if self.held_out:
            check_criteria(self.held_out, "held_out: ")
        if gates := [criterion.name for criterion in self.held_out if criterion.gate is not None]:
            raise ValueError(f"held_out: {', '.join(gates)}: a criterion of the alarms cannot have a gate")
        return self

    def held_out_weights(self) -> dict[str, float]:
        """By name, summing to 1."""
        return weights_of(self.held_out)
