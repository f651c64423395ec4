"""The protocols of engines (generate, score, answer, reward) and their requests and results."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch

    from rft_pipeline.engines.settings import Sampling, Thinking

Messages = tuple[tuple[str, str], ...]
"""A conversation as (role, content) pairs."""
WORD_TOKENS = 4
"""Maximum number of tokens of one word."""


@dataclass(frozen=True)
class GenerateRequest:
    """A request for one completion. Its randomness depends on the seed only, not on the batch."""

    request_id: str
    messages: Messages
    seed: int
    thinking: "Thinking | None" = None
    """How a thought is treated; None: the reply is not searched for one."""


@dataclass(frozen=True)
class Completion:
    """T sampled tokens. Servers return no token ids, so both lists of ids are empty for served models."""

    request_id: str
    prompt_tokens: list[int]
    tokens_T: list[int]
    """Ends with the end-of-turn token if the model ended its turn."""
    logprobs_T: list[float]
    """In nats, at temperature 1 without truncation. From a server, as it reports them, or empty."""
    text: str
    """The answer; with `thinking` `keep`, the whole reply."""
    finish_reason: str
    """`stop`, or `length` for a budget that is used up and for a thought that is never closed."""
    thought: str = ""
    """Without its tags."""
    thought_tokens: int = 0
    """Tokens of the thought with its tags, the first of `tokens_T`; 0 for served models."""


@dataclass(frozen=True)
class ScoreRequest:
    """A continuation to score after a prefix. Requests with the same prefix share its cost."""

    prefix: tuple[int, ...]
    continuation: tuple[int, ...]
    candidates: tuple[int, ...] = ()
    """Tokens whose log-prob directly after the continuation is returned."""
    want_tokens: bool = True
    """Whether the log-probs of the continuation's tokens are returned."""


@dataclass(frozen=True)
class ScoreResult:
    """Log-probs in nats."""

    token_logprobs: list[float]
    """One per token of the continuation; empty if not requested."""
    candidate_logprobs: list[float]


@dataclass(frozen=True)
class ChatRequest:
    """A question to a model that answers in words, at temperature 0."""

    request_id: str
    messages: Messages
    seed: int
    max_tokens: int
    """Token budget of a written answer."""
    words: tuple[str, ...] = ()
    """If the answer is one of these words: the reply holds each word's log-prob, if the engine reports them."""
    json_schema: Mapping[str, Any] | None = None
    """The schema of the answer; enforced by engines that can."""

    @property
    def budget(self) -> int:
        """Token budget of the answer: a few tokens if it is one word."""
        return min(WORD_TOKENS, self.max_tokens) if self.words else self.max_tokens


@dataclass(frozen=True)
class ChatReply:
    """The reply to one request: an answer, or an error text."""

    request_id: str
    text: str
    error: str = ""
    """Why there is no answer after all retries; empty if there is one."""
    unanswerable: str = ""
    """Why this model can never answer this question, e.g. because it is too long; the text is then empty."""
    cut_at: int = 0
    """The budget at which the answer was cut off; 0 if it ended by itself."""
    words: Mapping[str, float] | None = None
    """Log-prob in nats by word; None if the engine does not report it."""
    prompt_tokens: int = 0
    tokens: int = 0
    cost: float = 0.0
    """In the currency of the campaign's prices."""


def by_length(request: ScoreRequest) -> tuple[int, tuple[int, ...], int]:
    """Sort key that groups equal prefixes and, within them, similar lengths."""
    return len(request.prefix), request.prefix, len(request.continuation)


class Generator(Protocol):
    """Samples completions."""

    def generate(self, requests: Sequence[GenerateRequest], sampling: "Sampling") -> Iterator[list[Completion]]:
        """Yield completions batch by batch, in any order. Raises `EngineError`."""
        ...

    def close(self) -> None:
        """Free the memory. The engine cannot be used afterwards."""
        ...


class LocalPolicy(Generator, Protocol):
    """A generator whose weights are in this process's hands: it follows a policy that is being trained."""

    def take_weights(self, weights: Iterable[tuple[str, "torch.Tensor"]]) -> None:
        """Replace all weights, so that everything after equals an engine loaded from a checkpoint of them.

        `weights` are the names and tensors of the causal language model's `state_dict`, on any device and in any
        floating-point format; a weight that is tied to another may be left out. A LoRA adapter is merged before.
        The engine may keep these very tensors: if they change, they are to be given again before it is used.
        Raises `ModelError` for names or shapes that are not the model's; the engine cannot be used then.
        """
        ...


class Scorer(Protocol):
    """Scores given tokens."""

    context: int
    """Maximum number of tokens of prefix and continuation together."""

    def chat_tokens(self, messages: Messages) -> list[int]:
        """The tokens of a conversation up to the start of the next assistant turn."""
        ...

    def text_tokens(self, text: str) -> list[int]:
        """The tokens of plain text that continues another text; none is a special token."""
        ...

    def opening_tokens(self, text: str) -> list[int]:
        """The tokens of plain text that begins a document."""
        ...

    def reply_tokens(self, reply: str) -> list[int]:
        """The tokens of an assistant's reply after the tokens of a conversation."""
        ...

    def score(self, requests: Sequence[ScoreRequest]) -> list[ScoreResult]:
        """Score all requests, in order. Raises `EngineError`."""
        ...

    def score_parts(self, parts: Iterable[Sequence[ScoreRequest]]) -> Iterator[list[ScoreResult]]:
        """`score` of each part, in order; an engine with several workers takes parts in advance."""
        ...


class Asker(Protocol):
    """Answers questions in words."""

    @property
    def control_tokens(self) -> frozenset[str]:
        """Texts that the tokenizer reads as one control token; empty if the tokenizer is on a server."""
        ...

    def ask(self, requests: Sequence[ChatRequest]) -> Iterator[ChatReply]:
        """Yield one reply per request, in any order; a failed one has `error` set.

        Raises `EngineError` if the engine cannot answer at all, or a limit was reached.
        """
        ...


class Rewarder(Protocol):
    """Returns one number for a conversation."""

    def reward(self, conversations: Sequence[Messages]) -> list[float]:
        """The unbounded reward of each conversation, in order. Raises `EngineError`."""
        ...

    def close(self) -> None:
        """Free the memory. The engine cannot be used afterwards."""
        ...


class Engine(LocalPolicy, Scorer, Asker, Protocol):
    """A model in this process that generates, scores and answers."""
