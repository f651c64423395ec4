"""Reading an answer: the last verdict counts, since a judge may quote another one first."""

import json
import re
from typing import Any

_OPEN = re.compile(r"\{")


def last_object(text: str, *keys: str) -> dict[str, Any] | None:
    """The last JSON object in `text` that has all of `keys`; None when there is none that can be read."""
    decoder = json.JSONDecoder()
    found, end = None, 0
    for brace in _OPEN.finditer(text):
        if brace.start() < end:
            continue  # inside an object that was read
        try:
            value, end_here = decoder.raw_decode(text, brace.start())
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict) and all(key in value for key in keys):
            found, end = value, end_here
    return found


def as_text(value: Any) -> str:
    """A reason as a judge gave it; anything but text is none."""
    return value.strip() if isinstance(value, str) else ""
