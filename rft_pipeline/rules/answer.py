"""A rule about the number that a reply gives as its answer."""

from typing import Literal

import regex
from pydantic import Field

from rft_pipeline.rules.base import SECONDS, Column, ColumnName, RegexText, Rollout, Rule, RuleScore
from rft_pipeline.rules.numbers import DecimalMark, Number, agree, number_of, numbers, only_number

_BOX = "\\boxed{"


class NumericAnswer(Rule):
    r"""The reply's number is the one in the prompt column `column`.

    The reply's number is the first one after the last match of `after`; without `after`, the one in its last \boxed{},
    behind the last equals sign there; without a box, its last one. A reply without a number is wrong. A prompt without
    one is unscored. A percent sign on one side only is read both ways: 50% agrees with 50 and with 0.5. The power of a
    unit (cm^2) does not count as a number. A multiple of a root or of π is an expression, and unscored,
    and so is a box that holds anything but one number and its unit.
    """

    READS = ("column",)

    name: Literal["numeric_answer"] = "numeric_answer"
    version: int = 2
    column: ColumnName = "reference"
    after: RegexText | None = None
    decimal: DecimalMark = "."
    """Of point and comma, the other one groups thousands: 1,234.50 by default. Other spellings cannot be read."""
    relative_tolerance: float = Field(default=1e-9, ge=0)
    """Allowed error as a share of the reference; the wider of the two tolerances counts."""
    absolute_tolerance: float = Field(default=0.0, ge=0)

    def columns(self) -> tuple[Column, ...]:
        style = "1,234.50" if self.decimal == "." else "1.234,50"
        allowed = f"a number, or a text that is one (like {style}, 3/4, 50%)"
        return (Column("column", self.column, self._is_number, "not one number", allowed),)

    def __call__(self, rollout: Rollout) -> RuleScore:
        wanted = number_of(rollout.fields.get(self.column), self.decimal)
        if wanted is None or wanted.value is None:
            return RuleScore(None, f"no number in the prompt's column {self.column!r} to compare with")
        place, found = self._answer(rollout.completion)
        if found is None:
            return RuleScore(0.0, f"no number {place}")
        if found.expression:
            return RuleScore(None, f"{found.text[:40]!r} is an expression, not a number that can be read")
        if found.value is None:
            return RuleScore(0.0, f"{found.text[:40]!r} cannot be read with {self.decimal!r} as the decimal mark")
        right = agree(found, wanted, self.relative_tolerance, self.absolute_tolerance)
        return RuleScore(float(right), f"{found.text[:40]} {'is' if right else 'is not'} {wanted.text[:40]}")

    def _answer(self, reply: str) -> tuple[str, Number | None]:
        """Where the number was looked for, and the number."""
        if self.after is not None:
            end = max((found.end() for found in regex.finditer(self.after, reply, timeout=SECONDS)), default=None)
            if end is None:
                return f"marked by {self.after!r}", None
            return f"after {self.after!r}", next(numbers(reply[end:], self.decimal), None)
        if (boxed := _last_box(reply)) is not None:
            return "in the box", only_number(boxed, self.decimal)
        *_, last = [None, *numbers(reply, self.decimal)]
        return "in the reply", last

    def _is_number(self, value: object) -> bool:
        return number_of(value, self.decimal) is not None


def _last_box(reply: str) -> str | None:
    r"""What the last \boxed{} holds, up to the brace that closes it; None when there is no box."""
    start = reply.rfind(_BOX)
    if start < 0:
        return None
    depth, start = 1, start + len(_BOX)
    for end in range(start, len(reply)):
        depth += {"{": 1, "}": -1}.get(reply[end], 0)
        if depth == 0:
            return reply[start:end]
    return reply[start:]
