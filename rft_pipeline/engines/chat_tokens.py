"""Tokenizes texts and conversations for engines with a tokenizer.

A conversation gets the tokens of `apply_chat_template`, except that message contents never become special tokens.
"""

import json
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from rft_pipeline.engines.base import Messages
from rft_pipeline.engines.thoughts import LONGEST, SWITCHES, TAGS, opened_in
from rft_pipeline.errors import EngineError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

BREAK = "\u200b"
"""Inserted to break a control token: invisible to people, but it changes the tokens."""
_SLOT = "\ue000{}\ue001"
"""Placeholder for a message's content while a chat template is examined."""
_STAND_INS = range(0xF0000, 0xFFFFE)
"""Private code points. One replaces the first letter of each special token in a content until the tokenizer has
searched for special tokens."""
_EMPTY = re.compile("|".join(rf"\s*{re.escape(tag)}\s*{re.escape(close)}\s*" for tag, close in TAGS.items()))
"""A thought without content."""
_MARKUP = re.compile(r"[^\w\s]\S*\w\S*[^\w\s]")


def chat_tokens(
    tokenizer: Any, messages: Messages, reply_follows: bool = True, thinking: bool | None = None
) -> list[int]:
    """The tokens of a conversation, up to the start of the next assistant turn if a reply follows.

    `thinking` is the value of the chat template's own switch; None leaves it alone.
    Raises `EngineError` if the chat template refuses the conversation or drops a message.
    """
    contents = [content for _, content in messages]
    harmless, stand_ins = _harmless(contents, special_tokens(tokenizer))
    roles = tuple(role for role, _ in messages)
    rendered = render_chat(tokenizer, tuple(zip(roles, harmless, strict=True)), reply_follows, thinking)
    for i, role in enumerate(dropped(tokenizer, roles, reply_follows)):
        if role:
            raise EngineError(f"the chat template drops message {i} ({role})")
    if not stand_ins:
        tokens: list[int] = tokenizer.encode(rendered, add_special_tokens=False)
        return tokens
    if not tokenizer.is_fast:
        for stand_in, letter in stand_ins:
            rendered = rendered.replace(stand_in, letter + BREAK)
        broken: list[int] = tokenizer.encode(rendered, add_special_tokens=False)
        return broken
    found: list[int] = _standing_in(tokenizer, len(tokenizer), stand_ins).encode(rendered, add_special_tokens=False).ids
    return found


def text_tokens(tokenizer: Any, text: str) -> list[int]:
    """The tokens of plain text that continues another text: no space is added in front of it."""
    return _plain_tokens(tokenizer, text, opens=False)


def opening_tokens(tokenizer: Any, text: str) -> list[int]:
    """The tokens of plain text at the start of a document, after the tokenizer's begin-of-sequence token."""
    opened = [token for token in tokenizer.encode("")[:1] if token == tokenizer.bos_token_id]
    return opened + _plain_tokens(tokenizer, text, opens=True)


def reply_tokens(tokenizer: Any, reply: str) -> list[int]:
    """The tokens of an assistant's reply after the tokens of a conversation.

    Some chat templates (Llama 2) write a space before the reply that is not part of the generation prompt. It belongs
    to the reply, because the model was trained to write it.
    """
    return text_tokens(tokenizer, _gap(tokenizer, str(tokenizer.chat_template)) + reply)


def empty_thought(tokenizer: Any, prompt: Sequence[int]) -> list[int]:
    """The tokens between a prompt and a reply without a thought: what closes the thought that the prompt opens, or the
    empty thought that the chat template writes before its last reply (Qwen 3)."""
    if opened := opened_in(tokenizer, prompt):
        text = f"\n{TAGS[opened]}\n\n"
    else:
        closed = tokenizer.decode(prompt[-LONGEST:]).rstrip().endswith(tuple(TAGS.values()))
        text = _before_reply(tokenizer)
        text = text if _EMPTY.fullmatch(text) and not closed else ""
    tokens: list[int] = tokenizer.encode(text, add_special_tokens=False)
    return tokens


def special_tokens(tokenizer: Any) -> frozenset[str]:
    """The special tokens of a tokenizer, as text."""
    added = (token.content for token in tokenizer.added_tokens_decoder.values() if token.special)
    return frozenset(token for token in (*added, *tokenizer.all_special_tokens) if token)


def control_tokens(tokenizer: Any) -> frozenset[str]:
    """The control tokens of a tokenizer, as text: special tokens, and added tokens that look like markup."""
    added = {token.content for token in tokenizer.added_tokens_decoder.values()}
    return special_tokens(tokenizer) | {token for token in added if _MARKUP.fullmatch(token)}


def render_chat(tokenizer: Any, messages: Messages, reply_follows: bool, thinking: bool | None = None) -> str:
    """The conversation as the chat template renders it. Raises `EngineError` if the template refuses it."""
    from jinja2.exceptions import TemplateError

    named = {} if thinking is None else dict.fromkeys(SWITCHES, thinking)
    turns = [{"role": role, "content": content} for role, content in messages]
    try:
        rendered: str = tokenizer.apply_chat_template(
            turns, tokenize=False, add_generation_prompt=reply_follows, **named
        )
    except TemplateError as error:
        roles = ", ".join(role for role, _ in messages)
        raise EngineError(f"the chat template refuses the turns {roles}: {error}") from error
    return rendered


def dropped(tokenizer: Any, roles: tuple[str, ...], reply_follows: bool = True) -> list[str]:
    """For each turn: its role if the chat template drops it, otherwise an empty text."""
    rendered = render_chat(tokenizer, _slots(roles), reply_follows)
    return ["" if _SLOT.format(i) in rendered else role for i, role in enumerate(roles)]


def plain(tokenizer: "Tokenizer", opens: bool) -> "Tokenizer":
    """A copy that finds no special tokens, and adds a leading space only at the start of a document (`opens`)."""
    from tokenizers import Tokenizer

    state = _plain_state(tokenizer)
    if not opens:
        state["normalizer"] = _adding_no_space(state["normalizer"])
        state["pre_tokenizer"] = _adding_no_space(state["pre_tokenizer"])
    copy = Tokenizer.from_str(json.dumps(state))
    copy.encode_special_tokens = True
    return copy


def _slots(roles: tuple[str, ...]) -> Messages:
    return tuple((role, _SLOT.format(i)) for i, role in enumerate(roles))


def _harmless(contents: list[str], special: frozenset[str]) -> tuple[list[str], tuple[tuple[str, str], ...]]:
    """The contents with the first letter of each special token replaced by a stand-in, and the (stand-in, letter)
    pairs."""
    spelled = re.compile("|".join(re.escape(token) for token in sorted(special, key=len, reverse=True)) or r"(?!)")
    if not any(map(spelled.search, contents)):
        return contents, ()
    written = set().union(*contents)
    free = (chr(point) for point in _STAND_INS if chr(point) not in written)
    stand_in = {letter: next(free) for letter in sorted({token[0] for token in special})}
    harmless = []
    for content in contents:
        while spelled.search(content):
            content = spelled.sub(lambda found: stand_in[found.group()[0]] + found.group()[1:], content)
        harmless.append(content)
    return harmless, tuple((stand, letter) for letter, stand in stand_in.items())


@lru_cache(maxsize=8)
def _gap(tokenizer: Any, template: str) -> str:
    """The white space that the template puts between the generation prompt and the reply."""
    gap = _before_reply(tokenizer)
    return gap if gap.isspace() else ""


def _before_reply(tokenizer: Any) -> str:
    """The text that the template puts between the generation prompt and the reply."""
    try:
        prompt = render_chat(tokenizer, _slots(("user",)), reply_follows=True)
        replied = render_chat(tokenizer, _slots(("user", "assistant")), reply_follows=False)
    except EngineError:  # the template renders no assistant turn
        return ""
    before = replied.partition(_SLOT.format(1))[0]
    return before.removeprefix(prompt) if before.startswith(prompt) else ""


def _plain_tokens(tokenizer: Any, text: str, opens: bool) -> list[int]:
    if not tokenizer.is_fast:
        tokens: list[int] = tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
        return tokens
    found: list[int] = _plain(tokenizer, len(tokenizer), opens).encode(text, add_special_tokens=False).ids
    return found


@lru_cache(maxsize=8)
def _plain(tokenizer: Any, size: int, opens: bool) -> "Tokenizer":
    """`size` is part of the cache key: a tokenizer with added tokens needs a new copy."""
    return plain(tokenizer.backend_tokenizer, opens)


@lru_cache(maxsize=8)
def _standing_in(tokenizer: Any, size: int, stand_ins: tuple[tuple[str, str], ...]) -> "Tokenizer":
    """A copy that restores the letters of the stand-ins after it has searched for special tokens."""
    from tokenizers import Tokenizer, normalizers

    state = _plain_state(tokenizer.backend_tokenizer)
    for token in state["added_tokens"]:
        token["normalized"] = token["normalized"] and not token["special"]
    copy = Tokenizer.from_str(json.dumps(state))
    restored = [normalizers.Replace(stand, letter) for stand, letter in stand_ins]
    copy.normalizer = normalizers.Sequence([*restored, *([copy.normalizer] if copy.normalizer else [])])
    return copy


def _plain_state(tokenizer: "Tokenizer") -> dict[str, Any]:
    """A tokenizer's state. Pieces that are special tokens get a very low score, so that they are spelled out."""
    state: dict[str, Any] = json.loads(tokenizer.to_str())
    state |= {"truncation": None, "padding": None}
    if state["model"]["type"] == "Unigram":
        special = {token["content"] for token in state["added_tokens"] if token["special"]}
        pieces = state["model"]["vocab"]
        state["model"]["vocab"] = [[piece, -1e6 if piece in special else score] for piece, score in pieces]
    return state


def _adding_no_space(step: Any) -> Any:
    """A normalizer or pre-tokenizer that adds no space; None if that is all it does."""
    if step is None or step["type"] == "Prepend":
        return None
    for steps in ("normalizers", "pretokenizers"):
        if steps in step:
            return {**step, steps: [kept for each in step[steps] if (kept := _adding_no_space(each)) is not None]}
    if step["type"] == "Metaspace":
        return {**step, "prepend_scheme": "never"}
    return {**step, "add_prefix_space": False} if step["type"] == "ByteLevel" else step
