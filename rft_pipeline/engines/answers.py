"""Answering questions by scoring and sampling: shared by all engines that hold weights."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rft_pipeline.engines.base import (
    ChatReply,
    ChatRequest,
    Completion,
    GenerateRequest,
    Messages,
    ScoreRequest,
    ScoreResult,
)
from rft_pipeline.engines.chat_tokens import chat_tokens, control_tokens, opening_tokens, reply_tokens, text_tokens
from rft_pipeline.engines.thoughts import Following, switch

if TYPE_CHECKING:
    from rft_pipeline.engines.settings import Sampling


class LocalAsker(ABC):
    """An `Asker` on top of `generate` and `score`."""

    tokenizer: Any
    batch_size: int
    context: int
    ends: tuple[int, ...]
    """The tokens that end a turn."""

    @property
    def control_tokens(self) -> frozenset[str]:
        return control_tokens(self.tokenizer)

    def chat_tokens(self, messages: Messages) -> list[int]:
        return chat_tokens(self.tokenizer, messages)

    def prompt_tokens(self, request: GenerateRequest) -> list[int]:
        """The tokens before a completion."""
        return chat_tokens(self.tokenizer, request.messages, thinking=switch(request.thinking))

    def following(self, request: GenerateRequest, prompt: Sequence[int], sampling: "Sampling") -> Following:
        """The reply to a request before its first token."""
        return Following(self.tokenizer, prompt, self.ends, sampling, request.thinking)

    def completion(
        self, request: GenerateRequest, prompt: Sequence[int], sampled: Following, logprobs: Sequence[float]
    ) -> Completion:
        """The completion that was sampled; `logprobs` may go on after its end."""
        reply = sampled.reply()
        return Completion(
            request_id=request.request_id,
            prompt_tokens=list(prompt),
            tokens_T=reply.tokens,
            logprobs_T=list(logprobs[: len(reply.tokens)]),
            text=reply.text,
            finish_reason=reply.finish_reason,
            thought=reply.thought,
            thought_tokens=reply.thought_tokens,
        )

    def text_tokens(self, text: str) -> list[int]:
        return text_tokens(self.tokenizer, text)

    def opening_tokens(self, text: str) -> list[int]:
        return opening_tokens(self.tokenizer, text)

    def reply_tokens(self, reply: str) -> list[int]:
        return reply_tokens(self.tokenizer, reply)

    @abstractmethod
    def score(self, requests: Sequence[ScoreRequest]) -> list[ScoreResult]: ...

    def score_parts(self, parts: Iterable[Sequence[ScoreRequest]]) -> Iterator[list[ScoreResult]]:
        for part in parts:
            yield self.score(part)

    @abstractmethod
    def generate(self, requests: Sequence[GenerateRequest], sampling: "Sampling") -> Iterator[list[Completion]]: ...

    def ask(self, requests: Sequence[ChatRequest]) -> Iterator[ChatReply]:
        """Words of one token each are answered by their log-probs, everything else by greedy sampling."""
        from rft_pipeline.engines.settings import Sampling

        tokens = {word: self.reply_tokens(word) for word in {word for request in requests for word in request.words}}
        scored: list[tuple[ChatRequest, tuple[int, ...]]] = []
        sampled: list[ChatRequest] = []
        for request in requests:
            prompt = tuple(self.chat_tokens(request.messages))
            if len(prompt) + request.budget > self.context:
                why = f"{len(prompt)} tokens and {request.budget} to answer; the judge reads at most {self.context}"
                yield ChatReply(request.request_id, "", unanswerable=why)
            elif request.words and all(len(tokens[word]) == 1 for word in request.words):
                scored.append((request, prompt))
            else:
                sampled.append(request)
        yield from self._score_words(scored, tokens)
        for budget in sorted({request.budget for request in sampled}):
            alike = [
                GenerateRequest(request.request_id, request.messages, request.seed)
                for request in sampled
                if request.budget == budget
            ]
            for batch in self.generate(alike, Sampling(temperature=0, max_new_tokens=budget)):
                for done in batch:
                    yield ChatReply(
                        done.request_id,
                        done.text,
                        cut_at=budget if done.finish_reason == "length" else 0,
                        prompt_tokens=len(done.prompt_tokens),
                        tokens=len(done.tokens_T),
                    )

    def _score_words(
        self, prompts: list[tuple[ChatRequest, tuple[int, ...]]], tokens: dict[str, list[int]]
    ) -> Iterator[ChatReply]:
        wanted = [
            ScoreRequest(prompt, (), candidates=tuple(tokens[word][0] for word in request.words), want_tokens=False)
            for request, prompt in prompts
        ]
        parts = (wanted[start : start + self.batch_size] for start in range(0, len(wanted), self.batch_size))
        results = (result for part in self.score_parts(parts) for result in part)
        for (request, prompt), result in zip(prompts, results, strict=True):
            words = dict(zip(request.words, result.candidate_logprobs, strict=True))
            best = max(words, key=words.__getitem__)
            yield ChatReply(request.request_id, best, words=words, prompt_tokens=len(prompt))
