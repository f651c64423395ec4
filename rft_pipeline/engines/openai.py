"""The openai engine: any server that speaks OpenAI's HTTP protocol, asked by many calls at once.

A call that fails after its tries is an error of its own and costs no other call's result. What a server refuses -
log-probs, a JSON schema, a seed, temperature 0 - is left out from then on.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import httpx2
from openai import APIError, APIStatusError, AsyncOpenAI

from rft_pipeline.campaign import Sampling, Server
from rft_pipeline.engines.background import as_they_finish
from rft_pipeline.engines.base import ChatReply, ChatRequest, Completion, GenerateRequest
from rft_pipeline.engines.chat_answer import ChatAnswer, words_logprobs
from rft_pipeline.engines.http_client import ANSWER, find_key, in_words, is_unreachable, open_client, says_server_is_ill
from rft_pipeline.errors import EngineError
from rft_pipeline.models import SERVED

ROWS, SECONDS = 64, 5.0
"""Completions that are handed on together: at most so many, at most so late."""
HOPELESS = 64
"""Failures in a row, at least four rounds of the calls at once, after which a server counts as gone."""
TOP = 20
"""Likely tokens asked for: the most that servers give."""
_OPTIONAL = {
    "logprobs": ("logprobs", "top_logprobs"),
    "response_format": ("response_format", "json_schema"),
    "seed": ("seed",),
    "temperature": ("temperature",),
}
"""What an answer can do without, and the words by which a server refuses it."""
_BUDGET, _NEW_BUDGET = "max_tokens", "max_completion_tokens"
_SEEDS = 2**31

Body = dict[str, Any]


class _Failure(NamedTuple):
    why: str


class _Call(NamedTuple):
    """A request's place, and what is sent for it."""

    place: int
    body: Body


_Outcome = tuple[int, ChatAnswer | _Failure]


class OpenAIEngine:
    """A model that a server holds. It answers questions and draws completions; money and calls are counted."""

    def __init__(self, model: str, server: Server, whose: str) -> None:
        """`whose` is the settings' key that `server` stands under. Raises `ConfigError` when its API key is not set."""
        self.model = model.removeprefix(SERVED)
        self.server = server
        self.whose = whose
        self.key = find_key(server, whose)
        self.calls = 0
        self.answered = 0
        self.spent = 0.0
        self.without: set[str] = set()
        """What the server refuses."""
        self.failed_in_a_row = 0
        self.broken = ""
        """Why asking on is pointless."""

    def close(self) -> None:
        """Nothing is held beside this object: connections end with what was asked over them."""

    def ask(self, requests: Sequence[ChatRequest]) -> Iterator[ChatReply]:
        bodies = (self.question(request) for request in requests)
        for place, outcome in self._outcomes(bodies, len(requests), frozenset(_OPTIONAL)):
            request = requests[place]
            if isinstance(outcome, _Failure):
                yield ChatReply(request.request_id, "", error=outcome.why)
                continue
            yield ChatReply(
                request.request_id,
                outcome.text,
                words=words_logprobs(outcome.positions, request.words) if request.words else None,
                prompt_tokens=outcome.prompt_tokens,
                tokens=outcome.tokens,
                cost=self._cost(outcome),
            )

    def generate(self, requests: Sequence[GenerateRequest], sampling: Sampling) -> Iterator[list[Completion]]:
        """Completions without token ids: the server keeps them. Those that failed are missing, and raise at the end."""
        bodies = (self._draw(request, sampling) for request in requests)
        ready: list[Completion] = []
        failures, since = [], time.monotonic()
        try:
            for place, outcome in self._outcomes(bodies, len(requests), frozenset({"logprobs", "seed"})):
                if isinstance(outcome, _Failure):
                    failures.append(outcome.why)
                    continue
                ready.append(_completion(requests[place].request_id, outcome))
                if len(ready) >= ROWS or time.monotonic() - since > SECONDS:
                    yield ready
                    ready, since = [], time.monotonic()
        except EngineError:
            if ready:
                yield ready
            raise
        if ready:
            yield ready
        if failures:
            raise EngineError(
                f"{self.whose}: {len(failures)} of {len(requests)} completions could not be sampled ({failures[0]}). "
                "The others are kept: run again to sample the rest."
            )

    def question(self, request: ChatRequest) -> Body:
        """What is sent for a question."""
        body = self._body(request.messages, request.seed, request.max_tokens) | {"temperature": 0}
        if request.words:
            body |= {"logprobs": True, "top_logprobs": TOP}
        if request.json_schema is not None:
            schema = {"name": "answer", "strict": True, "schema": request.json_schema}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        return body

    def _draw(self, request: GenerateRequest, sampling: Sampling) -> Body:
        body = self._body(request.messages, request.seed, sampling.max_new_tokens)
        body |= {"temperature": sampling.temperature, "top_p": sampling.top_p, "logprobs": True}
        return body | {"top_k": sampling.top_k} if sampling.top_k else body

    def _body(self, messages: Sequence[tuple[str, str]], seed: int, budget: int) -> Body:
        turns = [{"role": role, "content": content} for role, content in messages]
        return {"model": self.model, "messages": turns, "seed": seed % _SEEDS, _BUDGET: budget}

    def _outcomes(self, bodies: Iterator[Body], count: int, optional: frozenset[str]) -> Iterator[_Outcome]:
        """What came back for each body, as it comes. Raises `EngineError` at the end when not all could be asked."""
        self.broken, self.failed_in_a_row = "", 0

        @asynccontextmanager
        async def opened() -> AsyncIterator[Callable[[_Call], Awaitable[_Outcome]]]:
            async with open_client(self.server, self.key) as client:

                async def work(call: _Call) -> _Outcome:
                    return call.place, await self._call(client, call.body, optional)

                yield work

        done, answered = 0, 0
        calls = (_Call(place, body) for place, body in enumerate(self._begun(bodies)))
        for place, outcome in as_they_finish(opened, calls, self.server.concurrency):
            done += 1
            answered += not isinstance(outcome, _Failure)
            yield place, outcome
        if self.broken or done < count:
            raise EngineError(
                f"{self.whose}: {self.broken or self._limit()} {answered} of {count} were answered and are kept; "
                "run again to ask for the rest."
            )

    def _begun(self, bodies: Iterator[Body]) -> Iterator[Body]:
        """Bodies as long as another call may begin."""
        while not (self.broken or self._limit()):
            body = next(bodies, None)
            if body is None:
                return
            self.calls += 1
            yield body

    def _limit(self) -> str:
        """The limit that is reached, and what to do."""
        server = self.server
        if server.max_calls is not None and self.calls >= server.max_calls:
            return f"{self.calls} calls are all that {self.whose}.server.max_calls allows a stage; raise it to go on."
        if server.max_cost is not None and self.spent >= server.max_cost:
            return (
                f"{self.spent:.4g} spent is all that {self.whose}.server.max_cost ({server.max_cost:g}) allows a "
                "stage; raise it to go on."
            )
        return ""

    async def _call(self, client: AsyncOpenAI, body: Body, optional: frozenset[str]) -> ChatAnswer | _Failure:
        """The answer, asked for again without what the server refuses."""
        without, refusal = set(self.without), None
        while True:
            sent = _leaving_out(body, without)
            try:
                response = await client.post("/chat/completions", cast_to=httpx2.Response, body=sent)
            except APIError as error:
                if refused := _refused(error, sent, optional - without):
                    without |= refused
                    refusal = refusal or error
                    continue
                return self._failed(refusal or error)
            answer: ChatAnswer = response.extensions[ANSWER]
            self._succeeded(answer, sent, without)
            return answer

    def _succeeded(self, answer: ChatAnswer, sent: Body, without: set[str]) -> None:
        self.without |= without
        if "logprobs" in sent and answer.text and not answer.positions and not self.answered:
            self.without.add("logprobs")  # ignored rather than refused: the text is all there will be
        self.answered += 1
        self.failed_in_a_row = 0
        self.spent += self._cost(answer)
        if self.server.max_cost is not None and not answer.tells_usage:
            self.broken = (
                f"{self.server.url} does not tell its usage, so that server.max_cost cannot be kept; remove it."
            )

    def _failed(self, error: APIError) -> _Failure:
        why = in_words(error, self.server, self.key)
        status = error.status_code if isinstance(error, APIStatusError) else None
        self.failed_in_a_row += says_server_is_ill(error)
        if status == 401:
            named = self.server.api_key_env
            key = f"the key in {named} is refused" if named else "it wants a key; name its variable in api_key_env"
            self.broken = f"{self.server.url} answers HTTP 401: {key}."
        elif not self.answered and status in (403, 404):
            self.broken = f"{self.server.url} answers {why}. Check server.url and the model's name, {self.model!r}."
        elif not self.answered and is_unreachable(error):
            self.broken = f"nothing answers at {self.server.url} ({why}). Check server.url and that the server runs."
        elif self.failed_in_a_row >= max(HOPELESS, 4 * self.server.concurrency):
            self.broken = f"{self.server.url} failed {self.failed_in_a_row} times in a row ({why})."
        return _Failure(why)

    def _cost(self, answer: ChatAnswer) -> float:
        prices = self.server.prices
        return (answer.prompt_tokens * prices.input_million + answer.tokens * prices.output_million) / 1e6


def _leaving_out(body: Body, without: set[str]) -> Body:
    """The body as the server wants it."""
    dropped = {key for name in without & set(_OPTIONAL) for key in _OPTIONAL[name]}
    kept = {key: value for key, value in body.items() if key not in dropped}
    if _BUDGET in without:
        kept[_NEW_BUDGET] = kept.pop(_BUDGET)
    return kept


def _refused(error: APIError, sent: Mapping[str, Any], optional: frozenset[str]) -> set[str]:
    """What the server's words blame that can be left out; a schema is blamed when nothing is named."""
    if not isinstance(error, APIStatusError) or error.status_code not in (400, 422):
        return set()
    said = error.response.text
    if _BUDGET in sent and _NEW_BUDGET in said:
        return {_BUDGET}
    there = {name for name in optional if name in sent}
    named = {name for name in there if any(word in said for word in _OPTIONAL[name])}
    return named or there & {"response_format"}


def _completion(request_id: str, answer: ChatAnswer) -> Completion:
    return Completion(
        request_id=request_id,
        prompt_tokens=[],
        tokens_T=[],
        logprobs_T=[position.logprob for position in answer.positions],
        text=answer.text,
        finish_reason="length" if answer.finish_reason == "length" else "stop",
    )
