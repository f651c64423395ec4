"""The result of a check: counts, warnings, and the errors collected so far."""

from dataclasses import dataclass, field

from rft_pipeline.campaign import Campaign


@dataclass
class Findings:
    """Errors and warnings, one line each, in the order they were found."""

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class LabelCounts:
    """Number of anchors by label, for one criterion."""

    bad: int
    """Labelled 0."""
    good: int
    """Labelled 1."""
    unlabelled: int


@dataclass(frozen=True)
class Disagreement:
    """Anchors on which a rule and the labels differ."""

    labelled: int
    """Anchors with a label."""
    anchors: dict[str, tuple[int, float]]
    """Id → its label and the rule's score."""


@dataclass(frozen=True)
class CheckResult:
    """The summary of a campaign without errors."""

    campaign: Campaign
    formats: dict[str, str]
    """By split: the format of its rows, and how many have a reply; `replay`: the rollouts that are
    replayed."""
    train_prompts: int
    eval_prompts: int
    anchors: int
    labels: dict[str, LabelCounts]
    """By criterion; empty without anchors."""
    unfitted: tuple[str, ...]
    """Criteria with a judge that measures a number, and no `squash` to turn it into a score."""
    otherwise: dict[str, Disagreement]
    """By criterion that a rule decides: the anchors that are labelled otherwise, if there are any."""
    warnings: tuple[str, ...]
