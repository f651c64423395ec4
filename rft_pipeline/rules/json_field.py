"""A rule about one field of a JSON reply."""

import json
from typing import Any, Literal

from pydantic import Field, model_validator

from rft_pipeline.rules.base import Column, ColumnName, Rollout, Rule, RuleScore
from rft_pipeline.rules.citation import is_quote
from rft_pipeline.rules.json_reply import FieldPath, read_field
from rft_pipeline.rules.numbers import DecimalMark, agree, number_of
from rft_pipeline.rules.values import spelled


class JsonField(Rule):
    """The field `field` of a JSON reply agrees with the prompt column `column`, which is named like it by default.

    `field` is a key, or a path of keys and places in lists: `decision`, `total.amount`, `items.0.price`.

    `how: exact`: the field has the column's value. Texts are the same except for case and white space, a number is the
    same as the text that spells it (3 and "3"), lists and objects agree in all their parts.
    `one_of`: the column is a list, and the field has one of its values; null in the list allows null.
    `numeric`: both are numbers, or texts that are one number (like 1,234.50, $5, 50%), and differ by at most a
    tolerance: the wider of the two counts.
    `quote`: the field is a text that is in the column word for word, as in `cites_context`; without `column`, in the
    prompt.

    A reply that is not JSON, gives a key twice, or lacks the field scores 0.
    """

    READS = ("column", "field")

    name: Literal["json_field"] = "json_field"
    field: FieldPath
    column: ColumnName | None = None
    how: Literal["exact", "one_of", "numeric", "quote"] = "exact"
    decimal: DecimalMark = "."
    relative_tolerance: float = Field(default=1e-9, ge=0)
    """Allowed error as a share of the column's number."""
    absolute_tolerance: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _fits_how(self) -> "JsonField":
        unused = sorted(self.model_fields_set & {"decimal", "relative_tolerance", "absolute_tolerance"})
        if unused and self.how != "numeric":
            raise ValueError(f"{', '.join(unused)}: only `how: numeric` reads numbers, and `how` is {self.how}")
        return self

    @property
    def compared_with(self) -> str | None:
        """The prompt column; None for the prompt itself."""
        return self.column or (None if self.how == "quote" else self.field)

    def columns(self) -> tuple[Column, ...]:
        if self.compared_with is None:
            return ()
        return (Column("column", self.compared_with, self._can_be, *_NOT_ONE[self.how]),)

    def __call__(self, rollout: Rollout) -> RuleScore:
        column = self.compared_with
        wanted = rollout.prompt if column is None else rollout.fields.get(column)
        if not self._can_be(wanted):
            return RuleScore(None, f"no value in the prompt's column {column!r} to compare with")
        found, refused = read_field(rollout.completion, self.field)
        if refused is not None:
            return refused
        right = self._agrees(found, wanted)
        shown = json.dumps(found, ensure_ascii=False)[:60]
        if self.how == "quote":
            return RuleScore(float(right), f"{shown} is {'' if right else 'not '}in the {column or 'prompt'}")
        allowed = json.dumps(wanted, ensure_ascii=False)[:60]
        return RuleScore(float(right), f"{shown} {'agrees' if right else 'does not agree'} with {allowed}")

    def _agrees(self, found: Any, wanted: Any) -> bool:
        match self.how:
            case "exact":
                return _same(found, wanted)
            case "one_of":
                return any(_same(found, each) for each in wanted)
            case "quote":
                return isinstance(found, str) and is_quote(found, wanted)
        mine, theirs = number_of(found, self.decimal), number_of(wanted, self.decimal)
        if mine is None or theirs is None:
            return False
        return agree(mine, theirs, self.relative_tolerance, self.absolute_tolerance)

    def _can_be(self, value: Any) -> bool:
        match self.how:
            case "exact":
                return value is not None and value != ""
            case "one_of":
                return isinstance(value, list) and bool(value)
            case "quote":
                return isinstance(value, str) and bool(value.strip())
        return number_of(value, self.decimal) is not None


_NOT_ONE = {
    "exact": ("empty", "any value but null and an empty text"),
    "one_of": ("no list of values", "a list of the values that are right"),
    "quote": ("no text", "a text that is not empty"),
    "numeric": ("not one number", "a number, or a text that is one (like 1,234.50, 3/4, 50%)"),
}
"""What is wrong with a value of the column, and what it may be."""


def _same(mine: Any, theirs: Any) -> bool:
    if isinstance(mine, list) and isinstance(theirs, list):
        return len(mine) == len(theirs) and all(map(_same, mine, theirs))
    if isinstance(mine, dict) and isinstance(theirs, dict):
        return mine.keys() == theirs.keys() and all(_same(mine[key], theirs[key]) for key in mine)
    if any(isinstance(value, list | dict | None) for value in (mine, theirs)):
        return mine is None and theirs is None
    return spelled(mine) == spelled(theirs)
