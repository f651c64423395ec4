"""A rubric: named criteria, each with a weight, perhaps a gate, and the judge that decides it.

A criterion is "the same" as long as what its judge sees is the same: its fingerprint holds the protocol, its
version and its settings, and neither its name, its weight nor its gate. Re-weighting costs no judge call.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.rules import AnyRule
from rft_pipeline.strict import Strict

Probability = Annotated[float, Field(ge=0, le=1)]
Word = Annotated[str, Field(min_length=1, pattern=r"^\S+$")]


class Squash(Strict):
    """Turns nats into a score: sigmoid((nats − offset) / scale). Fitted on labelled anchors."""

    offset: float = 0.0
    scale: float = Field(default=0.5, gt=0)


class RuleJudge(Strict):
    """Decided by a function, without a model."""

    protocol: Literal["rule"]
    rule: AnyRule


class ContrastJudge(Strict):
    """Mean token log-likelihood of the reply under a positive persona minus under a negative one."""

    protocol: Literal["contrast"]
    positive: str = Field(min_length=1)
    negative: str = Field(min_length=1)
    squash: Squash = Squash()

    @model_validator(mode="after")
    def _personas_differ(self) -> "ContrastJudge":
        if self.positive.strip() == self.negative.strip():
            raise ValueError("positive and negative persona are the same text: every reply would score alike")
        return self


class RelevanceJudge(Strict):
    """Mean token log-likelihood of the reply given its prompt minus given none."""

    protocol: Literal["relevance"]
    system: str = "You are a helpful support agent."
    squash: Squash = Squash()


class ClozeJudge(Strict):
    """Log-likelihood of positive words minus negative words after templates that show the reply.

    Each template holds `{reply}` and may hold `{prompt}`. The words' prior, under an empty reply, is subtracted.
    Templates are averaged.
    """

    protocol: Literal["cloze"]
    templates: tuple[str, ...] = Field(min_length=1)
    positive: tuple[Word, ...] = Field(min_length=1)
    negative: tuple[Word, ...] = Field(min_length=1)
    squash: Squash = Squash()

    @model_validator(mode="after")
    def _templates_show_the_reply(self) -> "ClozeJudge":
        for template in self.templates:
            if template.count("{reply}") != 1:
                raise ValueError(f"template {template!r} must hold {{reply}} exactly once")
            if not template.partition("{reply}")[0].strip():
                raise ValueError(
                    f"template {template!r} must say something before {{reply}}, e.g. 'The reply:\\n{{reply}}'"
                )
        if both := set(self.positive) & set(self.negative):
            raise ValueError(f"words both positive and negative: {', '.join(sorted(both))}")
        return self


class BinaryJudge(Strict):
    """A yes/no question about the reply: p(yes) / (p(yes) + p(no)) from the log-probs of the first answer token."""

    protocol: Literal["binary"]
    question: str = Field(min_length=1)
    squash: None = None


ModelJudge = ContrastJudge | RelevanceJudge | ClozeJudge | BinaryJudge
AnyJudge = Annotated[RuleJudge | ModelJudge, Field(discriminator="protocol")]

PROTOCOL_VERSIONS = {"rule": 1, "contrast": 1, "relevance": 1, "cloze": 1, "binary": 1}
"""Grows when a protocol's scores may change for the same settings; part of the criterion's fingerprint."""


class Criterion(Strict):
    """One thing a good reply does."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    description: str = ""
    weight: float = Field(default=1.0, ge=0)
    gate: Probability | None = None
    """A rollout that scores below this is put at the floor, whatever else it does well."""
    judge: AnyJudge

    @property
    def judged(self) -> bool:
        """Whether a model decides it (a rule does otherwise)."""
        return self.judge.protocol != "rule"

    @property
    def payload(self) -> dict[str, Any]:
        """What the judge sees: the readable form of the fingerprint."""
        version = PROTOCOL_VERSIONS[self.judge.protocol]
        return {"protocol_version": version, "judge": self.judge.model_dump(mode="json")}

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.payload)


class Rubric(Strict):
    """The criteria of a campaign, in the order they are shown."""

    criteria: tuple[Criterion, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _is_sound(self) -> "Rubric":
        names = [criterion.name for criterion in self.criteria]
        if doubled := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"criteria named twice: {', '.join(sorted(doubled))}")
        if not sum(criterion.weight for criterion in self.criteria):
            raise ValueError("all weights are 0: at least one criterion needs a weight above 0")
        return self

    @property
    def names(self) -> list[str]:
        return [criterion.name for criterion in self.criteria]

    @property
    def judged(self) -> list[Criterion]:
        """The criteria that a model decides."""
        return [criterion for criterion in self.criteria if criterion.judged]

    def weights(self) -> dict[str, float]:
        """Weights by name, summing to 1."""
        total = sum(criterion.weight for criterion in self.criteria)
        return {criterion.name: criterion.weight / total for criterion in self.criteria}

    def gates(self) -> dict[str, float]:
        return {criterion.name: criterion.gate for criterion in self.criteria if criterion.gate is not None}
