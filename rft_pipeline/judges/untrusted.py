"""How an untrusted text is shown to a judge: shortened, without control tokens, between fences.

A completion is data. It may hold a fence, a verdict, an order to the judge, or what looks like the special tokens of a
chat template. The judge must read all of it as the text that is judged.
"""

import re
from functools import lru_cache

from rft_pipeline.engines.chat_tokens import BREAK

_WORDS = (
    "s|bos|eos|eot|eom|eod|eop|sop|pad|unk|sep|cls|mask|think|tools|tool_calls?|tool_response|function_calls?|im_start"
    r"|im_end|(?:start|end|begin)_of_\w+|(?:start|end)_header_id|eot_id|(?:bos|eos|eop|pad|mask)_token|ai|用户"
    r"|(?:unused|reserved|reserved_token|special|extra|extra_id)_?\d+"
)
_BRACKETED = (
    "INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT|MODEL_SETTINGS|THINK|ARGS|CALL_ID"
    "|BOS|EOS|PAD|UNK|CLS|SEP|g?MASK|sMASK"
)
_SHAPES = (
    r"<\|[^|<>\n]{1,60}\|>|<\|[^\s|<>]{1,60}>|<(?!\u200b)[^\s|<>]{1,60}\|>",
    r"<｜[^｜<>\n]{1,60}｜>|<｜[^\s｜<>]{1,60}>|<(?!\u200b)[^\s｜<>]{1,60}｜>",
    r"\[\|[^|\[\]\n]{1,60}\|\]",
    rf"</?(?i:{_WORDS})>|</?seed:[\w-]{{1,60}}>",
    rf"\[/?(?:{_BRACKETED})\]|<</?SYS>>",
    r"\]~!?b[\[\]]|\[e~\[",
)
"""The marks of turns in chat templates of common models. A server may read them as such anywhere in a text."""


def fenced(text: str, max_chars: int = 16000, own: frozenset[str] = frozenset()) -> str:
    """Text between two fences longer than any run of backticks in it; a longer text by its first and last parts.

    `own`: the control tokens of the judge's tokenizer, if it is known.
    """
    shown = defused(shortened(text, max_chars), own)
    fence = "`" * max(3, max(map(len, re.findall("`+", shown)), default=0) + 1)
    return f"{fence}\n{shown}\n{fence}"


def defused(text: str, own: frozenset[str] = frozenset()) -> str:
    """The text with every control token broken in two: those of common models, and those in `own`."""
    control = _control(own)
    while control.search(text):
        text = control.sub(lambda found: found.group()[0] + BREAK + found.group()[1:], text)
    return text


@lru_cache(maxsize=8)
def _control(own: frozenset[str]) -> re.Pattern[str]:
    longest_first = sorted((token for token in own if len(token) > 1), key=len, reverse=True)
    return re.compile("|".join([*map(re.escape, longest_first), *_SHAPES]))


def shortened(text: str, max_chars: int) -> str:
    """At most `max_chars` characters of the text, without its middle."""
    if len(text) <= max_chars:
        return text
    head = max_chars * 2 // 3
    tail = max_chars - head
    return f"{text[:head]}\n[… {len(text) - max_chars} characters left out …]\n{text[-tail:]}"
