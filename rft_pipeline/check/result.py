"""What a check found out: counts for a summary, warnings, and the errors while they are being collected."""

from dataclasses import dataclass, field

from rft_pipeline.campaign import Campaign


@dataclass
class Findings:
    """Errors and warnings, a line each, in the order they were found."""

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class CriterionSummary:
    """One criterion, as the rubric has it."""

    name: str
    kind: str
    """The protocol, or for a rule `rule: <its name>`."""
    weight: float
    """Share of the reward; the shares sum to 1."""
    gate: float | None


@dataclass(frozen=True)
class LabelCounts:
    """How the anchors are labelled for one criterion."""

    bad: int
    """Labelled 0."""
    good: int
    """Labelled 1."""
    unlabelled: int


@dataclass(frozen=True)
class CheckResult:
    """A campaign that can run."""

    campaign: Campaign
    train_prompts: int
    eval_prompts: int
    criteria: tuple[CriterionSummary, ...]
    anchors: int
    labels: dict[str, LabelCounts]
    """By criterion; empty without anchors."""
    warnings: tuple[str, ...]
