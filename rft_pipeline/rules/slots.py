"""Slots: `{column}` in a text of a campaign is filled with that column of the prompt's row.

A slot is a name in braces that does not begin with a digit, so `{3}` and `{"a": 1}` are plain text. `{{name}}` is the
text `{name}` itself. A text is filled in one pass: what is filled in is never read as a slot.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from rft_pipeline.rules.values import text_of

_SLOT = re.compile(r"\{\{([^\W\d]\w*)\}\}|\{([^\W\d]\w*)\}")


def slots_in(*texts: str) -> list[str]:
    """The names of the slots of some texts, each once, in order."""
    return list(dict.fromkeys(found[2] for text in texts for found in _SLOT.finditer(text) if found[2]))


def has_slots(text: str | None) -> bool:
    """Whether a text must be filled: it has a slot, or braces that are written double."""
    return text is not None and _SLOT.search(text) is not None


def fill(text: str, values: Mapping[str, str]) -> str:
    """The text with its slots filled. A slot without a value stays as it is."""
    return _SLOT.sub(lambda found: f"{{{found[1]}}}" if found[1] else values.get(found[2], found[0]), text)


def as_literal(text: str) -> str:
    """The text that `fill` turns into this one, whatever the values are."""
    return re.sub(r"\{([^\W\d]\w*)\}", r"{{\1}}", text)


def in_braces(names: Iterable[str]) -> str:
    """Names as slots, for messages: `{context}, {policy}`."""
    return ", ".join(f"{{{name}}}" for name in names) or "none"


def is_slot_name(name: str) -> bool:
    """Whether a column with this name can be written as a slot."""
    return slots_in(f"{{{name}}}") == [name]


def column_text(value: Any) -> str | None:
    """A column's value as a slot shows it: a text or a number as it is, a list of texts as numbered passages, anything
    else as JSON. None for null and for a blank text, which no slot can show."""
    if value is None or (isinstance(value, str | int | float) and not isinstance(value, bool)):
        return text_of(value)
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return "\n".join(f"[{number}] {each}" for number, each in enumerate(value, start=1))
    return json.dumps(value, ensure_ascii=False)


def column_texts(fields: Mapping[str, Any], names: Iterable[str]) -> dict[str, str]:
    """The texts of those columns that a row has."""
    found = {name: column_text(fields.get(name)) for name in names}
    return {name: text for name, text in found.items() if text is not None}


def lacking(fields: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """The columns that a row lacks, or that hold nothing that a slot can show."""
    return [name for name in names if column_text(fields.get(name)) is None]
