"""The two things an engine can do, and the messages it is asked to do them with."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from rft_pipeline.campaign import Sampling

Messages = tuple[tuple[str, str], ...]
"""A conversation as (role, content) pairs."""


@dataclass(frozen=True)
class GenerateRequest:
    """One completion wanted. The seed alone fixes its randomness, whatever batch it is drawn in."""

    request_id: str
    messages: Messages
    seed: int


@dataclass(frozen=True)
class Completion:
    """T tokens drawn for one request."""

    request_id: str
    prompt_tokens: list[int]
    tokens_T: list[int]
    """Ends with the end-of-turn token when `finish_reason` is `stop`."""
    logprobs_T: list[float]
    """Nats under the model itself: temperature 1, no truncation."""
    text: str
    finish_reason: str
    """`stop` or `length`."""


@dataclass(frozen=True)
class ScoreRequest:
    """A continuation to be scored after a prefix; requests with the same prefix share its cost."""

    prefix: tuple[int, ...]
    continuation: tuple[int, ...]
    candidates: tuple[int, ...] = ()
    """Tokens whose log-prob right after the continuation is wanted."""
    want_tokens: bool = True
    """Whether the continuation's own log-probs are wanted."""


@dataclass(frozen=True)
class ScoreResult:
    """Log-probs in nats."""

    token_logprobs: list[float]
    """One a continuation token, or empty when not wanted."""
    candidate_logprobs: list[float]


class Generator(Protocol):
    """Draws completions."""

    def generate(self, requests: Sequence[GenerateRequest], sampling: Sampling) -> Iterator[list[Completion]]:
        """Yield completions batch by batch, in any order. Raises `EngineError`."""
        ...


class Scorer(Protocol):
    """Scores given tokens."""

    def chat_tokens(self, messages: Messages) -> list[int]:
        """The tokens of a conversation up to where the assistant speaks next."""
        ...

    def text_tokens(self, text: str) -> list[int]:
        """The tokens of plain text; nothing in it becomes a special token."""
        ...

    def score(self, requests: Sequence[ScoreRequest]) -> list[ScoreResult]:
        """Score all requests; results in the order of the requests. Raises `EngineError`."""
        ...


class Engine(Generator, Scorer, Protocol):
    """A model that does both, loaded once a stage."""

    def close(self) -> None:
        """Give its memory back; it answers nothing any more."""
        ...
