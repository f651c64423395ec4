"""How a text that nobody vouches for is shown to a judge: shortened, without control tokens, between fences.

A completion is data. It may hold a fence, a verdict, an order to the judge, or what looks like a chat template's
special tokens; none of it may be read as anything but the text that is judged.
"""

import re

_CONTROL = re.compile(
    r"<\|[^|<>\n]{1,60}\|>|<｜[^｜<>\n]{1,60}｜>|\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS)\]|<</?SYS>>"
    r"|</?(?:s|bos|eos|pad|unk|think|start_of_turn|end_of_turn|start_header_id|end_header_id|eot_id)>",
    re.IGNORECASE,
)
"""What chat templates of common models mark turns with. A server may read them as such wherever they stand."""

BREAK = "\u200b"
"""Breaks a control token: invisible to a reader, another token to a model."""


def fenced(text: str, max_chars: int = 16000) -> str:
    """Text between two fences longer than any run of backticks in it; of a longer one its first and last parts."""
    shown = defused(shortened(text, max_chars))
    fence = "`" * max(3, max(map(len, re.findall("`+", shown)), default=0) + 1)
    return f"{fence}\n{shown}\n{fence}"


def defused(text: str) -> str:
    """The text with every control token broken in two."""
    return _CONTROL.sub(lambda found: found.group()[0] + BREAK + found.group()[1:], text)


def shortened(text: str, max_chars: int) -> str:
    """At most `max_chars` of the text, its middle left out."""
    if len(text) <= max_chars:
        return text
    head = max_chars * 2 // 3
    tail = max_chars - head
    return f"{text[:head]}\n[… {len(text) - max_chars} characters left out …]\n{text[-tail:]}"
