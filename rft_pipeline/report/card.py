"""The model card of a champion or any round: Markdown that says where it comes from and what it can be trusted with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Facts:
    """What a card tells, as far as records tell it."""

    campaign: str
    description: str
    round: int
    content_hash: str
    base: Mapping[str, str]
    """name, source and content_hash of the model the campaign started from."""
    prompts: Mapping[str, Any]
    """train, eval (how many), and the hashes of their files."""
    training: Mapping[str, Any]
    """The settings of the last round's training."""
    trained: Sequence[Mapping[str, Any]]
    """One a round: round, prompts, rollouts, excluded, steps."""
    rubric: Sequence[Mapping[str, Any]]
    """name, weight, gate, protocol and description of each criterion."""
    judges: Mapping[str, str]
    """Content hash of each model that judged, by input name."""
    audit: Sequence[Mapping[str, Any]]
    """Each judge's audit: criterion, power, weight, reason, good, bad, auc, youden_j; none where none was audited."""
    people: Mapping[str, Mapping[str, Any]]
    """By criterion and for `reward` what people's labels of training replies say: labelled, judge, human, powered."""
    before: Mapping[str, Any] | None
    """Base in the eval report: reward, lower95, upper95, criteria."""
    after: Mapping[str, Any] | None
    """The round in the eval report; also delta."""
    alarm: Mapping[str, Any] | None
    """level and reason of the round's verdict; None where nothing watched."""
    decision: str
    forced: bool
    against: str
    """Whom the round was compared with; empty where the comparison is gone, or there was none."""
    bounds: Sequence[Mapping[str, Any]]
    """name, passed and said of each bound that was asked of the round."""
    lineage: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Stage → addresses of the records it was made from."""


def render_card(facts: Facts) -> str:
    """The card; it begins with the metadata that hubs of models read."""
    from rft_pipeline.report.page import environment

    template = environment().overlay(autoescape=False).get_template("card.md.jinja")
    return template.render(facts=facts) + "\n"


def without_metadata(card: str) -> str:
    """The card for those who show Markdown alone."""
    return card.split("---\n", 2)[2].lstrip()
