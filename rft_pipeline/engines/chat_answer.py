"""Parses answers of OpenAI-compatible servers: text, log-probs and usage.

Servers differ: fields may be missing, null, or of another type. Only a body that cannot be an answer is an error.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from rft_pipeline.engines.base import Completion, GenerateRequest
from rft_pipeline.engines.endings import Ending, ending_of
from rft_pipeline.engines.thoughts import divided, whole_reply

_EDGES = re.compile(r"^\W+|\W+$")


class Likely(BaseModel):
    """A token, and its log-prob in nats."""

    token: str
    logprob: float


class Position(Likely):
    """The sampled token and the most likely tokens at its position."""

    top_logprobs: list[Likely] | None = None


class _Logprobs(BaseModel):
    content: list[Position] | None = None


class _Message(BaseModel):
    content: str | list[Any] | None = None
    refusal: Any = None
    reasoning: Any = None
    reasoning_content: Any = None


class _Choice(BaseModel):
    message: _Message | None = None
    finish_reason: str | None = None
    logprobs: Any = None
    error: Any = None


class _Usage(BaseModel):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Body(BaseModel):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: Any = None


class ChatAnswer(NamedTuple):
    text: str
    """Without the model's reasoning."""
    cut: bool
    """Whether the answer was cut off by the budget."""
    blocked: str
    """Why this question can never be answered; empty otherwise."""
    reasoned: bool
    """Whether the model reasoned before the text, as far as the server reports it."""
    positions: tuple[Position, ...]
    """One per sampled token; empty if the server does not report them or the model reasoned first."""
    reports_usage: bool
    prompt_tokens: int
    tokens: int
    budget: int = 0
    """The token budget of the call."""
    thought: str = ""
    """The model's reasoning, as far as the server reports it."""


def read_answer(body: bytes) -> ChatAnswer:
    """Parse a response body. Raises `ValueError` if it is not an answer: see `endings`."""
    try:
        found = _Body.model_validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
        where = "".join(f"{part}: " for part in first["loc"])
        raise ValueError(f"an answer that cannot be read: {where}{first['msg']}") from error
    choice = found.choices[0] if found.choices else _Choice()
    if wrong := found.error or choice.error:
        raise ValueError(f"an error instead of an answer: {_error_text(wrong)}")
    if choice.message is None:
        raise ValueError("an answer without a message")
    ending = ending_of(choice.finish_reason)
    if ending is Ending.BROKEN:
        raise ValueError(f"an answer that ended with finish reason {choice.finish_reason!r}")
    message, usage = choice.message, found.usage or _Usage()
    content = _joined(message.content)
    thought, text = divided(content)
    own = message.reasoning_content or message.reasoning
    reasoned = bool(text != content or own)
    return ChatAnswer(
        text=text,
        cut=ending is Ending.CUT,
        blocked=_why_blocked(ending, choice.finish_reason, text, message.refusal),
        reasoned=reasoned,
        positions=() if reasoned else _positions(choice.logprobs),
        thought=own.strip() if isinstance(own, str) else thought,
        reports_usage=usage.prompt_tokens is not None and usage.completion_tokens is not None,
        prompt_tokens=usage.prompt_tokens or 0,
        tokens=usage.completion_tokens or 0,
    )


def _why_blocked(ending: Ending, finish_reason: str | None, text: str, refusal: Any) -> str:
    if ending is Ending.BLOCKED:
        return f"the server's filter stopped the answer (finish reason {finish_reason!r})"
    return f"the model refused to answer: {refusal}" if refusal and not text else ""


def _error_text(error: Any) -> Any:
    """The message of an error, if it has one."""
    return error.get("message") or error if isinstance(error, Mapping) else error


def completion_of(request: GenerateRequest, answer: ChatAnswer) -> Completion:
    """The completion in an answer. It has no tokens, and log-probs only if the model did not reason."""
    keeps = request.thinking == "keep" and answer.thought
    return Completion(
        request_id=request.request_id,
        prompt_tokens=[],
        tokens_T=[],
        logprobs_T=[position.logprob for position in answer.positions],
        text=whole_reply(f"\n{answer.thought}\n", f"\n\n{answer.text}") if keeps else answer.text,
        finish_reason="length" if answer.cut else "stop",
        thought=answer.thought,
    )


def words_logprobs(positions: Sequence[Position], words: Sequence[str]) -> dict[str, float] | None:
    """The log-prob of each word as the answer: the sum over its spellings (spaces, case and punctuation around it).

    A word that is not listed gets an upper bound: the smallest listed probability, or the probability that the listed
    tokens leave over if that is less. None if no word is listed.
    """
    place = next((each for each in positions if each.token.strip()), None)
    if place is None:
        return None
    listed = {each.token: each.logprob for each in (place, *(place.top_logprobs or ())) if math.isfinite(each.logprob)}
    sums: dict[str, float] = {}
    for token, logprob in listed.items():
        spelt = _EDGES.sub("", token).casefold()
        sums[spelt] = sums.get(spelt, 0.0) + math.exp(logprob)
    found = {word: sums.get(word.casefold(), 0.0) for word in words}
    if not any(found.values()):
        return None
    over = 1.0 - sum(math.exp(logprob) for logprob in listed.values())
    at_most = min(math.exp(min(listed.values())), max(over, 1e-12))
    return {word: math.log(chance or at_most) for word, chance in found.items()}


def _joined(content: str | list[Any] | None) -> str:
    """The text of a message, which may come in parts."""
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, Mapping)]
        return "".join(part for part in parts if isinstance(part, str))
    return content or ""


def _positions(logprobs: Any) -> tuple[Position, ...]:
    try:
        return tuple(_Logprobs.model_validate(logprobs).content or ()) if logprobs else ()
    except ValidationError:
        return ()
