"""Answering questions with the weights an engine holds: what every engine in this process has in common."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

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
from rft_pipeline.engines.settings import Sampling


class AnswersItself(ABC):
    """An asker that generates and scores."""

    tokenizer: Any
    batch_size: int
    context: int

    @property
    def control_tokens(self) -> frozenset[str]:
        return control_tokens(self.tokenizer)

    def chat_tokens(self, messages: Messages) -> list[int]:
        return chat_tokens(self.tokenizer, messages)

    def text_tokens(self, text: str) -> list[int]:
        return text_tokens(self.tokenizer, text)

    def opening_tokens(self, text: str) -> list[int]:
        return opening_tokens(self.tokenizer, text)

    def reply_tokens(self, reply: str) -> list[int]:
        return reply_tokens(self.tokenizer, reply)

    @abstractmethod
    def score(self, requests: Sequence[ScoreRequest]) -> list[ScoreResult]: ...

    @abstractmethod
    def generate(self, requests: Sequence[GenerateRequest], sampling: Sampling) -> Iterator[list[Completion]]: ...

    def ask(self, requests: Sequence[ChatRequest]) -> Iterator[ChatReply]:
        """Words by their log-probs, where each is one token; whatever else is wanted by greedy sampling."""
        tokens = {word: self.reply_tokens(word) for word in {word for request in requests for word in request.words}}
        weighed: list[tuple[ChatRequest, tuple[int, ...]]] = []
        written: list[ChatRequest] = []
        for request in requests:
            prompt = tuple(self.chat_tokens(request.messages))
            if len(prompt) + request.budget > self.context:
                why = f"{len(prompt)} tokens and {request.budget} to answer; the judge reads at most {self.context}"
                yield ChatReply(request.request_id, "", unanswerable=why)
            elif request.words and all(len(tokens[word]) == 1 for word in request.words):
                weighed.append((request, prompt))
            else:
                written.append(request)
        for start in range(0, len(weighed), self.batch_size):
            yield from self._weigh(weighed[start : start + self.batch_size], tokens)
        for budget in sorted({request.budget for request in written}):
            alike = [
                GenerateRequest(request.request_id, request.messages, request.seed)
                for request in written
                if request.budget == budget
            ]
            for batch in self.generate(alike, Sampling(temperature=0, max_new_tokens=budget)):
                for done in batch:
                    read, wrote = len(done.prompt_tokens), len(done.tokens_T)
                    cut_at = budget if done.finish_reason == "length" else 0
                    yield ChatReply(done.request_id, done.text, cut_at=cut_at, prompt_tokens=read, tokens=wrote)

    def _weigh(
        self, asked: list[tuple[ChatRequest, tuple[int, ...]]], tokens: dict[str, list[int]]
    ) -> Iterator[ChatReply]:
        wanted = [
            ScoreRequest(prompt, (), candidates=tuple(tokens[word][0] for word in request.words), want_tokens=False)
            for request, prompt in asked
        ]
        for (request, prompt), result in zip(asked, self.score(wanted), strict=True):
            words = dict(zip(request.words, result.candidate_logprobs, strict=True))
            best = max(words, key=words.__getitem__)
            yield ChatReply(request.request_id, best, words=words, prompt_tokens=len(prompt))
