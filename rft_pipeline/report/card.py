"""The model card of a champion or another round, in Markdown: where the weights come from, and their limits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Facts:
    """The content of a card, from records."""

    campaign: str
    description: str
    round: int
    content_hash: str
    base: Mapping[str, str]
    """name, source and content_hash of the model the campaign started from."""
    prompts: Mapping[str, Any]
    """train and eval (counts), train_hash and eval_hash (hashes of their files)."""
    training: Mapping[str, Any]
    """The settings of the last round's training."""
    trained: Sequence[Mapping[str, Any]]
    """Per round: round, prompts, rollouts, excluded, steps."""
    rubric: Sequence[Mapping[str, Any]]
    """name, weight, gate, protocol and description of each criterion."""
    judges: Mapping[str, str]
    """Content hash of each model that judged, by input name."""
    audit: Sequence[Mapping[str, Any]]
    """Per judge: criterion, power, weight, reason, good, bad, auc, youden_j; empty without an audit."""
    people: Mapping[str, Mapping[str, Any]]
    """By criterion and for `reward`, estimates from people's labels of training replies: labelled, judge, human,
    powered."""
    before: Mapping[str, Any] | None
    """Base in the eval report: reward, lower95, upper95, criteria."""
    after: Mapping[str, Any] | None
    """The round in the eval report; also delta."""
    alarm: Mapping[str, Any] | None
    """level and reason of the round's alarms; None without alarms."""
    decision: str
    forced: bool
    against: str
    """Name of the champion that the round was compared with; empty without a stored comparison."""
    bounds: Sequence[Mapping[str, Any]]
    """name, passed and said of each bound."""
    lineage: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Stage → addresses of the records it was made from."""


def render_card(facts: Facts) -> str:
    """The card, beginning with the metadata that model hubs read."""
    from rft_pipeline.report.templates import environment

    template = environment().overlay(autoescape=False).get_template("card.md.jinja")
    return template.render(facts=facts) + "\n"


def without_metadata(card: str) -> str:
    """The card without the metadata block."""
    return card.split("---\n", 2)[2].lstrip()
