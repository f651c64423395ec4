"""Deterministic rewards: a rule is a frozen config that scores one rollout without a model."""

from typing import Annotated

from pydantic import Field

from rft_pipeline.rules.answer import NumericAnswer
from rft_pipeline.rules.base import Column, Rollout, Rule, RuleScore
from rft_pipeline.rules.citation import CitesContext
from rft_pipeline.rules.facts import NoInventedFacts
from rft_pipeline.rules.json_schema import JsonSchema
from rft_pipeline.rules.language import Language
from rft_pipeline.rules.python import Python
from rft_pipeline.rules.readability import Readability
from rft_pipeline.rules.similarity import Similarity
from rft_pipeline.rules.text import AsksFor, Finishes, Length, NoMarkdown, Regex, RequiredParts

AnyRule = Annotated[
    AsksFor
    | CitesContext
    | Finishes
    | JsonSchema
    | Language
    | Length
    | NoInventedFacts
    | NoMarkdown
    | NumericAnswer
    | Python
    | Readability
    | Regex
    | RequiredParts
    | Similarity,
    Field(discriminator="name"),
]

__all__ = ["AnyRule", "Column", "Rollout", "Rule", "RuleScore"]
