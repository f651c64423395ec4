"""A rubric: named criteria, each with a weight, perhaps a gate, and the judge that decides it.

A criterion is "the same" as long as what its judge sees is the same: its fingerprint holds the protocol, its
version and its settings, and neither its name, its weight nor its gate. Re-weighting costs no judge call.
"""

from typing import Annotated, Any

from pydantic import Field, model_validator

from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.judges import AnyJudge, PanelJudge
from rft_pipeline.strict import Strict

Probability = Annotated[float, Field(ge=0, le=1)]


class Criterion(Strict):
    """One thing a good reply does."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    description: str = ""
    weight: float = Field(default=1.0, ge=0)
    gate: Probability | None = None
    """A rollout that scores below this is put at the floor, whatever else it does well."""
    judge: AnyJudge

    @property
    def members(self) -> tuple["Criterion", ...]:
        """What a panel asks: its members, each as a criterion of its own, and as such judged once and kept."""
        if not isinstance(self.judge, PanelJudge):
            return ()
        return tuple(
            Criterion.model_construct(name=f"{self.name}.{place}", judge=judge)
            for place, judge in enumerate(self.judge.members, start=1)
        )

    @property
    def judged(self) -> bool:
        """Whether a model decides it, or has a say in it (a rule decides otherwise)."""
        return any(each.judge.ENGINE is not None for each in self.members or (self,))

    @property
    def payload(self) -> dict[str, Any]:
        """What the judge sees: the readable form of the fingerprint."""
        return self.judge.payload

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
    def single_criteria(self) -> list[Criterion]:
        """The criteria as judges are asked them: in place of a panel, its members."""
        return [each for criterion in self.criteria for each in criterion.members or (criterion,)]

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
