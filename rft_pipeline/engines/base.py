"""What an engine can do - generate, score, answer, reward - and the messages it is asked to do it with."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rft_pipeline.engines.settings import Sampling

Messages = tuple[tuple[str, str], ...]
"""A conversation as (role, content) pairs."""
WORD_TOKENS = 4
"""What a word may take to be written."""


@dataclass(frozen=True)
class GenerateRequest:
    """One completion wanted. The seed alone fixes its randomness, whatever batch it is drawn in."""

    request_id: str
    messages: Messages
    seed: int


@dataclass(frozen=True)
class Completion:
    """T tokens drawn for one request. A model that a server holds tells no token ids: both lists of them are empty."""

    request_id: str
    prompt_tokens: list[int]
    tokens_T: list[int]
    """Ends with the end-of-turn token when `finish_reason` is `stop`."""
    logprobs_T: list[float]
    """Nats under the model itself: temperature 1, no truncation. From a server as it tells them, or none."""
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


@dataclass(frozen=True)
class ChatRequest:
    """A question to a model that answers in words, with nothing left to chance: temperature 0."""

    request_id: str
    messages: Messages
    seed: int
    max_tokens: int
    """Budget of an answer that is written out."""
    words: tuple[str, ...] = ()
    """When one of these words is all that is wanted: each one's log-prob as the answer, where the engine tells."""
    json_schema: Mapping[str, Any] | None = None
    """What the answer must satisfy; an engine that can enforces it."""

    @property
    def budget(self) -> int:
        """Tokens that the answer itself needs: a few where one word is all that is wanted."""
        return min(WORD_TOKENS, self.max_tokens) if self.words else self.max_tokens


@dataclass(frozen=True)
class ChatReply:
    """What came back for one request: an answer, or an error in words."""

    request_id: str
    text: str
    error: str = ""
    """Why there is no answer after all retries; empty when there is one."""
    unanswerable: str = ""
    """Why this question never gets one from this model, e.g. because it is too long; the text is empty then."""
    cut_at: int = 0
    """Tokens after which the budget ran out before the answer ended; 0 when it ended by itself."""
    words: Mapping[str, float] | None = None
    """Nats, by word; None where the engine does not tell, or did not see one of them."""
    prompt_tokens: int = 0
    tokens: int = 0
    cost: float = 0.0
    """Money, in the currency of the campaign's prices."""


class Generator(Protocol):
    """Draws completions."""

    def generate(self, requests: Sequence[GenerateRequest], sampling: Sampling) -> Iterator[list[Completion]]:
        """Yield completions batch by batch, in any order. Raises `EngineError`."""
        ...

    def close(self) -> None:
        """Give its memory back; it draws nothing any more."""
        ...


class Scorer(Protocol):
    """Scores given tokens."""

    context: int
    """Most tokens of a prefix and its continuation together."""

    def chat_tokens(self, messages: Messages) -> list[int]:
        """The tokens of a conversation up to where the assistant speaks next."""
        ...

    def text_tokens(self, text: str) -> list[int]:
        """The tokens of plain text that continues another text; nothing in it becomes a special token."""
        ...

    def opening_tokens(self, text: str) -> list[int]:
        """The tokens of plain text that begins a document."""
        ...

    def reply_tokens(self, reply: str) -> list[int]:
        """The tokens of an assistant's reply after the tokens of a conversation."""
        ...

    def score(self, requests: Sequence[ScoreRequest]) -> list[ScoreResult]:
        """Score all requests; results in the order of the requests. Raises `EngineError`."""
        ...


class Asker(Protocol):
    """Answers questions in words."""

    @property
    def control_tokens(self) -> frozenset[str]:
        """What the model's tokenizer reads as one token of its own, as text; empty where the tokenizer is not here."""
        ...

    def ask(self, requests: Sequence[ChatRequest]) -> Iterator[ChatReply]:
        """One reply a request, in any order, each as soon as it is there; one that failed says so in `error`.

        Raises `EngineError` when nothing can be answered at all, or a limit was reached.
        """
        ...


class Rewarder(Protocol):
    """Puts one number on a conversation."""

    def reward(self, conversations: Sequence[Messages]) -> list[float]:
        """The reward of each conversation, unbounded, in order. Raises `EngineError`."""
        ...


class Engine(Generator, Scorer, Asker, Protocol):
    """A model in this process that does all three, loaded once a stage."""
