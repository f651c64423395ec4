"""Reading a field of a row as a text, or as yes or no: CSV cells are all text, JSON has types."""

import json
from typing import Any

_YES_OR_NO = {"true": True, "1": True, "false": False, "0": False}


def text_of(value: Any) -> str | None:
    """A text that is not blank, or a number as JSON spells it (9 is "9"); None for everything else."""
    if isinstance(value, str):
        return value if value.strip() else None
    return json.dumps(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def yes_or_no(value: Any) -> bool | None:
    """True and 1, false and 0, also as text in any case; None for everything else."""
    if isinstance(value, str):
        return _YES_OR_NO.get(value.strip().casefold())
    return bool(value) if isinstance(value, bool | int | float) and value in (0, 1) else None


def spelled(value: str | float | bool) -> str:
    """A text without regard to case and white space, or the text of a number (3.0 is "3"), true or false."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = value if isinstance(value, str) else json.dumps(value)
    return " ".join(text.casefold().split())


def is_yes_no_or_null(value: Any) -> bool:
    return value is None or yes_or_no(value) is not None
