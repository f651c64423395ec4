"""Cells of the file for people: escaped for spreadsheets, and parsed into values."""

import re
from typing import Any

from rft_pipeline.labels.exports import LabelQuestion
from rft_pipeline.prompts.rows import shown

_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_LOOKS_LIKE_A_NUMBER = re.compile(r"'*\d+(e\d+)?")
"""An id that a spreadsheet would change, such as 12e4567890123456."""
_WORDS = {"yes": 1.0, "y": 1.0, "true": 1.0, "no": 0.0, "n": 0.0, "false": 0.0}
_NUMBER = re.compile(r"\d*[.,]?\d+|\d+[.,]")


def escaped(text: str) -> str:
    """With an apostrophe before text that a spreadsheet would evaluate or read as a number; `restored` removes it.

    Control characters, which some spreadsheets refuse, become U+FFFD; this is not reversed.
    """
    text = _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)
    return f"'{text}" if _FORMULA.match(text) or _LOOKS_LIKE_A_NUMBER.fullmatch(text) else text


def restored(cell: str) -> str:
    is_escaped = _FORMULA.match(cell) or _LOOKS_LIKE_A_NUMBER.fullmatch(cell)
    return cell[1:] if cell.startswith("'") and is_escaped else cell


def value_of(cell: Any, asked: LabelQuestion) -> float:
    """A label in [0, 1]; grades 1 … k become (grade − 1) / (k − 1). Raises `ValueError` with the allowed values."""
    number = _number(cell)
    if asked.grades:
        if number is not None and not isinstance(cell, bool) and number in range(1, len(asked.grades) + 1):
            return (number - 1) / (len(asked.grades) - 1)
        raise ValueError(f"{shown(cell)} is not a grade: write an integer from 1 to {len(asked.grades)}")
    if number is None and isinstance(cell, str):
        number = _WORDS.get(cell.strip().casefold())
    if number is None or not 0 <= number <= 1:
        raise ValueError(f"{shown(cell)} is not a label: write yes, no or a number from 0 to 1")
    return number


def _number(cell: Any) -> float | None:
    if isinstance(cell, int | float):
        return float(cell)
    text = cell.strip() if isinstance(cell, str) else ""
    return float(text.replace(",", ".")) if _NUMBER.fullmatch(text) else None
