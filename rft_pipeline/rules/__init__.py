"""Deterministic rewards: a rule is a frozen config that scores one rollout without a model.

To add a rule, write its class in the file of its family and import it here: the rules that this module imports are
those that a rubric can name.
"""

from typing import TYPE_CHECKING

from rft_pipeline.rules.answer import NumericAnswer as NumericAnswer
from rft_pipeline.rules.base import Column, Rollout, Rule, RuleFailure, RuleScore
from rft_pipeline.rules.citation import CitesContext as CitesContext
from rft_pipeline.rules.facts import NoInventedFacts as NoInventedFacts
from rft_pipeline.rules.grounding import Refuses as Refuses
from rft_pipeline.rules.grounding import SupportedBy as SupportedBy
from rft_pipeline.rules.json_field import JsonField as JsonField
from rft_pipeline.rules.json_schema import JsonSchema as JsonSchema
from rft_pipeline.rules.label import Label as Label
from rft_pipeline.rules.language import Language as Language
from rft_pipeline.rules.prompt_words import CopiedRun as CopiedRun
from rft_pipeline.rules.prompt_words import GroundedWords as GroundedWords
from rft_pipeline.rules.python import Python as Python
from rft_pipeline.rules.readability import Readability as Readability
from rft_pipeline.rules.similarity import Similarity as Similarity
from rft_pipeline.rules.text import AsksFor as AsksFor
from rft_pipeline.rules.text import Finishes as Finishes
from rft_pipeline.rules.text import Length as Length
from rft_pipeline.rules.text import NoMarkdown as NoMarkdown
from rft_pipeline.rules.text import Regex as Regex
from rft_pipeline.rules.text import RequiredParts as RequiredParts
from rft_pipeline.rules.unit_tests import UnitTests as UnitTests
from rft_pipeline.strict import tagged_union

__all__ = ["RULES", "AnyRule", "Column", "Rollout", "Rule", "RuleFailure", "RuleScore"]

RULES: dict[str, type[Rule]] = {
    each.model_fields["name"].default: each
    for each in list(globals().values())
    if isinstance(each, type) and issubclass(each, Rule) and each is not Rule
}
"""The class of each rule, by its name."""

if TYPE_CHECKING:
    AnyRule = Rule
else:
    AnyRule = tagged_union(RULES.values(), "name")
