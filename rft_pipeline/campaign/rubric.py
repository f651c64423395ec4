"""A rubric: named criteria, each with a weight, a judge, and optionally a gate.

A criterion's fingerprint holds the protocol with its version and settings, but not name, weight and gate. What its
judge is asked (`question`) does not hold the squash either. So changing one of them costs no judge call.
"""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field, model_validator

from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.judges import AnyJudge, ChecklistJudge, PanelJudge, question_in
from rft_pipeline.judges.checklist import ItemJudge
from rft_pipeline.strict import NAME, Strict

ITEMS = "items"
"""The name of a checklist's items, after the name of its criterion and a dot."""
Probability = Annotated[float, Field(ge=0, le=1)]


class Criterion(Strict):
    """One property of a good reply."""

    ELSEWHERE = dict.fromkeys(
        ("protocol", "rule", "question", "by", "squash"), "it belongs to the judge: `judge: {protocol: …}`"
    )

    name: Annotated[str, NAME]
    """Small letters, digits and `_`."""
    description: str = ""
    """What people read when they label."""
    weight: float = Field(default=1.0, ge=0)
    """Its part of the reward; 0: it is shown and trains nothing."""
    gate: Probability | None = None
    """A rollout that scores below this gets the floor reward, whatever its other scores are."""
    judge: AnyJudge

    @property
    def members(self) -> tuple["Criterion", ...]:
        """The members of a panel, or the items of a checklist, each as a criterion of its own, so that each is judged
        and stored once."""
        if isinstance(self.judge, ChecklistJudge) and not isinstance(self.judge, ItemJudge):
            return (Criterion.model_construct(name=f"{self.name}.{ITEMS}", judge=self.judge.items),)
        if not isinstance(self.judge, PanelJudge):
            return ()
        return tuple(
            Criterion.model_construct(name=f"{self.name}.{place}", judge=judge)
            for place, judge in enumerate(self.judge.members, start=1)
        )

    @property
    def singles(self) -> tuple["Criterion", ...]:
        """The members of a panel, the items of a checklist, or the criterion itself."""
        return self.members or (self,)

    @property
    def judged(self) -> bool:
        """Whether a model scores it, alone or in a panel with rules."""
        return any(each.judge.ENGINE is not None for each in self.singles)

    @property
    def payload(self) -> dict[str, Any]:
        """The readable form of the fingerprint."""
        return self.judge.payload

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.payload)

    @property
    def question(self) -> str:
        """The fingerprint of what the judge is asked, under which its judgements are stored."""
        return fingerprint(question_in(self.payload))


def check_criteria(criteria: Sequence[Criterion], where: str = "") -> None:
    """Raise `ValueError` for two criteria with one name, or for weights that are all 0."""
    names = [criterion.name for criterion in criteria]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        places = (
            f"{name} ({', '.join(str(place) for place, other in enumerate(names, 1) if other == name)})"
            for name in repeated
        )
        raise ValueError(f"{where}criteria named twice: {'; '.join(places)}, counted from 1; choose other names")
    if not sum(criterion.weight for criterion in criteria):
        raise ValueError(f"{where}all weights are 0: at least one criterion needs a weight above 0")


def weights_of(criteria: Sequence[Criterion]) -> dict[str, float]:
    """Weights by name, summing to 1."""
    total = sum(criterion.weight for criterion in criteria)
    return {criterion.name: criterion.weight / total for criterion in criteria}


class Rubric(Strict):
    """The criteria of a campaign, in display order."""

    criteria: tuple[Criterion, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _is_sound(self) -> "Rubric":
        check_criteria(self.criteria)
        return self

    @property
    def names(self) -> list[str]:
        return [criterion.name for criterion in self.criteria]

    @property
    def single_criteria(self) -> list[Criterion]:
        """The criteria, with each panel replaced by its members."""
        return [each for criterion in self.criteria for each in criterion.singles]

    @property
    def judged(self) -> list[Criterion]:
        """The criteria that a model scores."""
        return [criterion for criterion in self.criteria if criterion.judged]

    def weights(self) -> dict[str, float]:
        """Weights by name, summing to 1."""
        return weights_of(self.criteria)

    def gates(self) -> dict[str, float]:
        return {criterion.name: criterion.gate for criterion in self.criteria if criterion.gate is not None}
