"""Messages as other tools write them, as `{role, content}`; and the text of a logged reply.

Known spellings: `{role, content}` (OpenAI, TRL, verifiers), `{role, parts}` (OpenTelemetry, Gemini), `{from, value}`
(ShareGPT), `{type, content}` and `{id: [..., "HumanMessage"], kwargs: {content}}` (LangChain), `["assistant", text]`
(LangSmith). What is none of these stays as it is, so that the reader of prompts refuses it and shows it.
"""

import json
from collections.abc import Sequence
from typing import Any

ROLES = {
    **dict.fromkeys(("user", "human", "HumanMessage"), "user"),
    **dict.fromkeys(("assistant", "ai", "gpt", "chatgpt", "model", "AIMessage", "AIMessageChunk"), "assistant"),
    **dict.fromkeys(("system", "developer", "SystemMessage"), "system"),
}
"""Role in a file → our role."""
TEXT_PARTS = ("text", "input_text", "output_text")
"""The types of content parts that are text."""
THOUGHT_PARTS = ("thinking", "redacted_thinking", "reasoning")
"""The types of content parts that are a model's thought, which is no part of its message."""
_DEPTH = 8
"""Maximum number of objects around a text or a list of messages."""


def decoded(value: Any) -> Any:
    """The list or object that a text spells as JSON, as in exports to CSV and Parquet; other values as they are."""
    if not isinstance(value, str) or value.lstrip()[:1] not in ("[", "{"):
        return value
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return value
    return found if isinstance(found, dict | list) else value


def key_of_text(value: dict[str, Any], names: Sequence[str]) -> str | None:
    """The key under which an object holds its text or messages: the first of `names` with a value, or the only key."""
    return next((name for name in names if value.get(name) is not None), next(iter(value)) if len(value) == 1 else None)


def conversation(value: Any, names: Sequence[str], batches: bool = False) -> Any:
    """The text or list of messages in a logged value, which may be inside objects, under one of `names`; with
    `batches`, also the only text of a list."""
    for _ in range(_DEPTH):
        value = decoded(value)
        if isinstance(value, list) and value and isinstance(value[0], list):
            value = value[0]  # LangChain logs a batch of one conversation
        elif isinstance(value, list) and [type(each) for each in value] == [str, str] and value[0] in ROLES:
            return [{"role": ROLES[value[0]], "content": value[1]}]
        elif batches and isinstance(value, list) and len(value) == 1 and isinstance(value[0], str):
            value = decoded(value[0])  # the only prompt of a batch, or the only argument of a function
            if isinstance(value, str):
                break
        elif isinstance(value, list):
            return [_turn(each) for each in value]
        elif isinstance(value, dict) and _role(value) is not None:
            return [_turn(value)]
        elif isinstance(value, dict) and (key := key_of_text(value, names)) is not None:
            value = value[key]
        else:
            break
    return value


def reply_in(value: Any) -> str | None:
    """The text, or the reply that a list of messages ends with; None if there is none."""
    if isinstance(value, list):
        last = value[-1] if value else None
        value = content_of(last) if isinstance(last, dict) and last.get("role") == "assistant" else None
    return value if isinstance(value, str) and value.strip() else None


def content_of(turn: dict[str, Any]) -> Any:
    """The content of a message; if it is a list of text parts, their text. Thoughts among them are left out."""
    content = turn.get("content")
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        return content
    parts = [part for part in content if part.get("type") not in THOUGHT_PARTS]
    if any(part.get("type") not in TEXT_PARTS for part in parts):
        return content
    texts = [part.get("text") for part in parts]
    return "".join(texts) if all(isinstance(text, str) for text in texts) else content


def _turn(turn: Any) -> Any:
    turn = decoded(turn)
    if not isinstance(turn, dict):
        return turn
    inner = next((turn[key] for key in ("message", "content") if isinstance(turn.get(key), dict)), None)
    if _role(turn) is None and inner is not None:
        turn = inner  # one of several answers: OpenAI's `choices`, LangChain's `generations`, Gemini's `candidates`
    role = _role(turn)
    if role is None:
        return {"role": "assistant", "content": turn["text"]} if isinstance(turn.get("text"), str) else turn
    inside = (
        turn if any(key in turn for key in ("content", "value", "parts")) else turn.get("kwargs", turn.get("data", {}))
    )
    content = None
    if isinstance(inside, dict):
        content = _text_parts(inside["parts"]) if "parts" in inside else inside.get("content", inside.get("value"))
    return {"role": ROLES.get(role, role), "content": content}


def _text_parts(parts: Any) -> Any:
    """The parts of OpenTelemetry (`{type: text, content}`) and Gemini (`{text}`) as content parts; others stay."""
    if not isinstance(parts, list):
        return parts
    found = []
    for part in parts:
        text = part.get("text", part.get("content")) if isinstance(part, dict) else part
        is_text = isinstance(text, str) and not (isinstance(part, dict) and part.get("type", "text") != "text")
        found.append({"type": "text", "text": text} if is_text else part)
    return found


def _role(turn: dict[str, Any]) -> str | None:
    """The role as the file spells it; None if this is no message."""
    if any(key in turn for key in ("content", "value", "parts", "tool_calls")):
        role = turn.get("role", turn.get("from"))
        if isinstance(role, str):
            return role
    if isinstance(turn.get("kwargs"), dict) and isinstance(turn.get("id"), list) and turn["id"]:
        return str(turn["id"][-1])
    if isinstance(turn.get("kwargs"), dict) and turn["kwargs"].get("type") in ROLES:
        return str(turn["kwargs"]["type"])
    kind = turn.get("type")
    return kind if isinstance(kind, str) and kind in ROLES and ("content" in turn or "data" in turn) else None
