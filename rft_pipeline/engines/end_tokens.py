"""The tokens that end a model's reply, and the token that ends a turn in its chat template."""

import json
from pathlib import Path
from typing import Any

from rft_pipeline.errors import ModelError
from rft_pipeline.models.merging import base_of, is_adapter

_USER, _REPLY = "\ue000user\ue001", "\ue000reply\ue001"
"""Placeholders for the contents of two messages while the chat template is rendered."""


def end_tokens(folder: Path, tokenizer: Any) -> tuple[int, ...]:
    """All tokens that end a reply of the model in `folder`, in ascending order; at least one.

    They are those of `generation_config.json` (or of `config.json` if it names none), the tokenizer's end of sequence,
    and the end of a turn in the chat template. Raises `ModelError` if none of them names a token.
    """
    own = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    return tuple(sorted({*_configured(folder), *own, end_of_turn(tokenizer)}))


def end_of_turn(tokenizer: Any) -> int:
    """The token that the chat template writes after an assistant's message.

    If the template writes none, it is the tokenizer's end of sequence. Raises `ModelError` if that is missing too.
    """
    turns = [{"role": "user", "content": _USER}, {"role": "assistant", "content": _REPLY}]
    _, _, after = tokenizer.apply_chat_template(turns, tokenize=False).partition(_REPLY)
    added = tokenizer.added_tokens_decoder  # may contain runs of spaces
    for token in tokenizer.encode(after, add_special_tokens=False):
        if token in added and str(added[token]).strip():
            return int(token)
    if tokenizer.eos_token_id is None:
        raise ModelError(
            f"{tokenizer.name_or_path}: no token ends a reply: the chat template writes no special token after "
            "an assistant's message, and the tokenizer has no eos_token; set eos_token in tokenizer_config.json"
        )
    return int(tokenizer.eos_token_id)


def _configured(folder: Path) -> list[int]:
    """The end tokens in the first of the model's files that names any."""
    folder = base_of(folder) if is_adapter(folder) else folder
    config = _read(folder / "config.json")
    for named in (_read(folder / "generation_config.json"), config, config.get("text_config") or {}):
        if (found := named.get("eos_token_id")) is not None:
            return found if isinstance(found, list) else [found]
    return []


def _read(path: Path) -> dict[str, Any]:
    """A JSON file; empty if it does not exist."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found
