"""A rule about the class that a reply names."""

from functools import cache
from typing import Any, Literal

import regex
from pydantic import Field, model_validator

from rft_pipeline.rules.base import SECONDS, Column, ColumnName, RegexText, Rollout, Rule, RuleScore
from rft_pipeline.rules.json_reply import FieldPath, read_field
from rft_pipeline.rules.values import spelled


class Label(Rule):
    """The class that the reply names, one of `labels`, is the one in the prompt column `column`.

    With `field`, the class is the whole value of that field of a JSON reply. With `after`, it is the first of the
    labels after the last match of that pattern. With neither, it is the only one of the labels in the reply, as a
    whole word: a reply that names two classes names none, and "not spam" names spam unless it is a label itself.
    Case does not count.

    A reply that names no class scores 0. The eval report has a table of this rule: precision, recall and F1 of each
    class, and which class was named for which.
    """

    READS = ("column",)

    name: Literal["label"] = "label"
    labels: tuple[str, ...] = Field(min_length=2)
    column: ColumnName = "label"
    field: FieldPath | None = None
    after: RegexText | None = None

    @model_validator(mode="after")
    def _can_be_told_apart(self) -> "Label":
        names = [spelled(label) for label in self.labels]
        if "" in names or len(set(names)) < len(names):
            raise ValueError("labels: two are the same without regard to case and white space, or one is empty")
        if self.field is not None and self.after is not None:
            raise ValueError("field, after: give one of them; the value of a field is the class as a whole")
        return self

    def columns(self) -> tuple[Column, ...]:
        allowed = f"one of {', '.join(self.labels)}"
        return (Column("column", self.column, lambda value: self.label_of(value) is not None, "no label", allowed),)

    def __call__(self, rollout: Rollout) -> RuleScore:
        wanted = self.label_of(rollout.fields.get(self.column))
        if wanted is None:
            return RuleScore(None, f"no label in the prompt's column {self.column!r}")
        named, refused = self._read(rollout.completion)
        if refused is not None:
            return refused
        right = named == wanted
        return RuleScore(float(right), f"names {named}{'' if right else f', not {wanted}'}")

    def named(self, reply: str) -> str | None:
        """The class that the reply names; None if it names none or cannot be read."""
        try:
            return self._read(reply)[0]
        except TimeoutError:
            return None

    def label_of(self, value: Any) -> str | None:
        """The label that a value is; None for everything else."""
        if not isinstance(value, str | int | float):
            return None
        return {spelled(label): label for label in self.labels}.get(spelled(value))

    def _read(self, reply: str) -> tuple[str | None, RuleScore | None]:
        """The class, or what a reply that names none scores."""
        if self.field is not None:
            found, refused = read_field(reply, self.field)
            if refused is not None:
                return None, refused
            named = self.label_of(found)
            return named, None if named else RuleScore(0.0, f"names no class: {self.field} is {str(found)[:40]!r}")
        if self.after is not None:
            end = max((found.end() for found in regex.finditer(self.after, reply, timeout=SECONDS)), default=None)
            reply = "" if end is None else reply[end:]
        labels = [label for found in _pattern(self.labels).findall(reply) if (label := self.label_of(found))]
        if not labels:
            where = "" if self.after is None else f" after {self.after!r}"
            return None, RuleScore(0.0, f"names no class{where}")
        if self.after is None and len(set(labels)) > 1:
            return None, RuleScore(0.0, f"names more than one class: {', '.join(dict.fromkeys(labels))}")
        return labels[0], None


@cache
def _pattern(labels: tuple[str, ...]) -> "regex.Pattern[str]":
    """Each label as a whole word; of labels that begin alike, the longest."""
    longest_first = sorted(labels, key=len, reverse=True)
    spaced = (r"\s+".join(regex.escape(word) for word in label.split()) for label in longest_first)
    return regex.compile(rf"(?<!\w)(?:{'|'.join(spaced)})(?!\w)", regex.IGNORECASE)
