"""Deterministic rewards: a rule is a frozen config that scores one rollout without a model."""

from typing import Annotated

from pydantic import Field

from rft_pipeline.rules.base import Rollout, Rule, Verdict
from rft_pipeline.rules.facts import NoInventedFacts
from rft_pipeline.rules.text import AsksFor, Finishes, JsonSchema, Length, NoMarkdown, Regex, RequiredParts

AnyRule = Annotated[
    AsksFor | Finishes | JsonSchema | Length | NoInventedFacts | NoMarkdown | Regex | RequiredParts,
    Field(discriminator="name"),
]

__all__ = ["AnyRule", "Rollout", "Rule", "Verdict"]
