"""Texts and conversations as tokens, for every engine that holds a tokenizer.

What people and models wrote never becomes a special token, whatever it spells.
"""

from typing import Any

from rft_pipeline.engines.base import Messages
from rft_pipeline.errors import EngineError

_SLOT = "\ue000{}\ue001"
"""Stands for a message's content while the chat template is rendered, so that content is never read as template."""


def text_tokens(tokenizer: Any, text: str) -> list[int]:
    """The tokens of plain text."""
    tokens: list[int] = tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
    return tokens


def chat_tokens(tokenizer: Any, messages: Messages) -> list[int]:
    """The tokens of a conversation up to where the assistant speaks next.

    Raises `EngineError` when the chat template does not show every message once and in order.
    """
    slots = [{"role": role, "content": _SLOT.format(i)} for i, (role, _) in enumerate(messages)]
    rest = tokenizer.apply_chat_template(slots, tokenize=False, add_generation_prompt=True)
    tokens: list[int] = []
    for i, (_, content) in enumerate(messages):
        before, found, rest = rest.partition(_SLOT.format(i))
        if not found:
            raise EngineError(f"the chat template drops or reorders message {i} ({messages[i][0]})")
        tokens += tokenizer.encode(before, add_special_tokens=False) + text_tokens(tokenizer, content)
    last: list[int] = tokenizer.encode(rest, add_special_tokens=False)
    return tokens + last
