"""The openai engine: a client of any server with OpenAI's HTTP protocol, with many concurrent calls.

Several threads may ask at once: all calls run in one event loop, which alone changes the engine's state. A failed call
does not affect other calls. Features that a server refuses (log-probs, a JSON schema, a seed, temperature
0) are left out from then on. A model that reasons before it answers gets a larger budget. An empty answer to a JSON
schema is requested once more as plain text.
"""

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence, Set
from contextlib import asynccontextmanager
from typing import NamedTuple

import httpx2
from openai import APIError, APIStatusError, AsyncOpenAI

from rft_pipeline.engines.background import Background
from rft_pipeline.engines.base import ChatReply, ChatRequest, Completion, GenerateRequest
from rft_pipeline.engines.chat_answer import ChatAnswer, completion_of, words_logprobs
from rft_pipeline.engines.endings import is_blocked
from rft_pipeline.engines.http_client import (
    ANSWER,
    Addresses,
    find_key,
    in_words,
    is_server_failure,
    is_unreachable,
    open_client,
)
from rft_pipeline.engines.refusals import BUDGET, NEW_BUDGET, OPTIONAL, Body, leaving_out, refused
from rft_pipeline.engines.settings import REASONING_TOKENS, Answering, Sampling, Server, reasons_by_name
from rft_pipeline.engines.thoughts import SWITCHES, switch
from rft_pipeline.errors import EngineError
from rft_pipeline.models import SERVED

ROWS, SECONDS = 64, 5.0
"""Completions are yielded in chunks: after this many, or after this many seconds."""
HOPELESS = 64
"""Consecutive failures after which a server counts as down (at least 4 × concurrency)."""
OPENROUTER = "openrouter.ai"
"""A server that takes the effort as a part of `reasoning`."""
TOP = 20
"""Requested number of likely tokens: the maximum of most servers."""
_SEEDS = 2**31
log = logging.getLogger(__name__)


class _Failure(NamedTuple):
    why: str
    blocked: bool = False
    """Whether the server always refuses this question."""


class _Call(NamedTuple):
    """A request's index and body."""

    place: int
    body: Body
    room: int
    """Its budget if the model reasons first."""


_Prepared = tuple[Body, int]
_Outcome = tuple[int, ChatAnswer | _Failure]


class OpenAIEngine:
    """A served model. It answers questions and samples completions, and counts calls and cost.

    All that is asked at one time shares `concurrency`, the limits and the state of the server.
    """

    control_tokens: frozenset[str] = frozenset()
    """Unknown: the tokenizer is on the server."""

    def __init__(self, model: str, server: Server, whose: str, how: Answering | None = None) -> None:
        """`whose` is the settings' key above `server`. Raises `ConfigError` if the API key is not set."""
        self.model = model.removeprefix(SERVED)
        self.server = server
        self.whose = whose
        self.how = how or Answering()
        self.key = find_key(server, whose)
        self.addresses = Addresses(server.addresses)
        self.calls = 0
        self.answered = 0
        self.spent = 0.0
        self.without: set[str] = set()
        """Features that the server refuses."""
        self.reasons = reasons_by_name(self.model)
        """Whether the model reasons before it answers."""
        self.guessing_failed = False
        """Whether leaving out features has already failed to help."""
        self.failed_in_a_row = 0
        """Of all that is asked: only an answer ends the row."""
        self.broken = ""
        """Why further calls are pointless; empty otherwise. What is asked when nothing else runs tries again."""
        self.asking = 0
        """Batches of calls that run."""
        self.background = Background(server.concurrency)

    def close(self) -> None:
        """Cancel what runs. Connections are closed after each batch of calls."""
        self.background.cancel()

    def ask(self, requests: Sequence[ChatRequest]) -> Iterator[ChatReply]:
        bodies = ((self.question(request), self._room(request)) for request in requests)
        for place, outcome in self._outcomes(bodies, len(requests), OPTIONAL):
            request = requests[place]
            if isinstance(outcome, _Failure):
                error, never = ("", outcome.why) if outcome.blocked else (outcome.why, "")
                yield ChatReply(request.request_id, "", error=error, unanswerable=never)
                continue
            yield ChatReply(
                request.request_id,
                "" if outcome.blocked else outcome.text,
                unanswerable=outcome.blocked,
                cut_at=outcome.budget if outcome.cut else 0,
                words=words_logprobs(outcome.positions, request.words) if request.words else None,
                prompt_tokens=outcome.prompt_tokens,
                tokens=outcome.tokens,
                cost=self._cost(outcome),
            )

    def generate(self, requests: Sequence[GenerateRequest], sampling: Sampling) -> Iterator[list[Completion]]:
        """Completions without token ids. Raises `EngineError` at the end if some failed."""
        bodies = ((self._draw(request, sampling), sampling.budget) for request in requests)
        ready: list[Completion] = []
        failures, since = [], time.monotonic()
        try:
            for place, outcome in self._outcomes(bodies, len(requests), {"logprobs", "seed"}):
                if isinstance(outcome, _Failure) or outcome.blocked:
                    failures.append(outcome.why if isinstance(outcome, _Failure) else outcome.blocked)
                    continue
                ready.append(completion_of(requests[place], outcome))
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
                f"{self.whose}: {len(failures)} of {len(requests)} completions failed ({failures[0]}). "
                "The others are kept; run again to sample the rest."
            )

    def question(self, request: ChatRequest) -> Body:
        """The request body of a question."""
        budget = self.how.max_tokens or (self._room(request) if self.reasons else request.budget)
        body = self._body(request.messages, request.seed, budget) | {"temperature": 0}
        if self.how.reasoning_effort is not None:
            effort = self.how.reasoning_effort
            nested = OPENROUTER in self.server.named
            body |= {"reasoning": {"effort": effort}} if nested else {"reasoning_effort": effort}
        if request.words:
            body |= {"logprobs": True, "top_logprobs": TOP}
        if request.json_schema is not None:
            schema = {"name": "answer", "strict": True, "schema": request.json_schema}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        return body

    def _room(self, request: ChatRequest) -> int:
        return self.how.max_tokens or request.max_tokens + REASONING_TOKENS

    def _draw(self, request: GenerateRequest, sampling: Sampling) -> Body:
        body = self._body(request.messages, request.seed, sampling.budget)
        body |= {"temperature": sampling.temperature, "top_p": sampling.top_p, "logprobs": True}
        if (thinks := switch(request.thinking)) is not None:
            body["chat_template_kwargs"] = dict.fromkeys(SWITCHES, thinks)  # of vLLM, SGLang and llama.cpp
        return body | {"top_k": sampling.top_k} if sampling.top_k else body

    def _body(self, messages: Sequence[tuple[str, str]], seed: int, budget: int) -> Body:
        turns = [{"role": role, "content": content} for role, content in messages]
        return {"model": self.model, "messages": turns, "seed": seed % _SEEDS, BUDGET: budget}

    def _outcomes(self, bodies: Iterator[_Prepared], count: int, optional: Set[str]) -> Iterator[_Outcome]:
        """The outcome of each body, as they finish. Raises `EngineError` at the end if some were not sent."""
        why, broken = "", False

        @asynccontextmanager
        async def opened() -> AsyncIterator[Callable[[_Call], Awaitable[_Outcome]]]:
            nonlocal why, broken
            if not self.asking:
                self.broken = ""
            self.asking += 1
            try:
                async with open_client(self.server, self.key, self.addresses) as client:

                    async def work(call: _Call) -> _Outcome:
                        return call.place, await self._call(client, call, optional)

                    yield work
            finally:
                self.asking -= 1
                why, broken = self.broken or self._limit(), bool(self.broken)

        done, answered = 0, 0
        calls = (_Call(place, *each) for place, each in enumerate(self._begun(bodies)))
        for place, outcome in self.background.as_they_finish(opened, calls):
            done += 1
            answered += not isinstance(outcome, _Failure)
            yield place, outcome
        if broken or done < count:
            raise EngineError(
                f"{self.whose}: {why} {answered} of {count} were answered and are kept; run again for the rest."
            )

    def _begun(self, bodies: Iterator[_Prepared]) -> Iterator[_Prepared]:
        """The requests, until a limit is reached or the server is down."""
        while not (self.broken or self._limit()):
            each = next(bodies, None)
            if each is None:
                return
            self.calls += 1
            yield each

    def _limit(self) -> str:
        """Which limit is reached and what to do; empty if none is."""
        server = self.server
        if server.max_calls is not None and self.calls >= server.max_calls:
            return f"{self.calls} calls made, the most that {self.whose}.server.max_calls allows a stage; raise it."
        if server.max_cost is not None and self.spent >= server.max_cost:
            return (
                f"{self.spent:.4g} spent; {self.whose}.server.max_cost allows a stage {server.max_cost:g}; raise it to "
                "continue."
            )
        return ""

    async def _call(self, client: AsyncOpenAI, call: _Call, optional: Set[str]) -> ChatAnswer | _Failure:
        """The answer. The call is repeated without refused features, with a larger budget, or without a schema."""
        body, without, refusal = call.body, set(self.without), None
        plain: set[str] = set()
        read = wrote = 0
        while True:
            sent = leaving_out(body, without | plain)
            try:
                response = await client.post("/chat/completions", cast_to=httpx2.Response, body=sent)
            except APIError as error:
                if found := refused(error, sent, optional - without, guess=not (self.answered or self.guessing_failed)):
                    without |= found
                    refusal = refusal or error
                    continue
                self.guessing_failed |= refusal is not None
                return self._failed(refusal or error)
            answer: ChatAnswer = response.extensions[ANSWER]
            self._succeeded(answer, sent, without, refusal)
            read, wrote = read + answer.prompt_tokens, wrote + answer.tokens
            budget = sent[NEW_BUDGET if BUDGET in without else BUDGET]
            if answer.cut and (answer.reasoned or not answer.text.strip()) and budget < call.room:
                self.reasons = True
                body = {**body, BUDGET: call.room}
            elif "response_format" in sent and not (answer.text.strip() or answer.cut or answer.blocked):
                plain = {"response_format"}
            else:
                return answer._replace(budget=budget, prompt_tokens=read, tokens=wrote)
            self.calls += 1

    def _succeeded(self, answer: ChatAnswer, sent: Body, without: set[str], refusal: APIError | None) -> None:
        if refusal is not None and (new := sorted(without - self.without)):
            why = in_words(refusal, self.server, self.key)
            log.warning("%s: %s refuses %s (%s): left out from now on", *self._named, ", ".join(new), why)
        self.without |= without
        if "logprobs" in sent and answer.text and not answer.positions and not self.answered:
            self.without.add("logprobs")  # the server ignores the option
            log.warning("%s: %s returns no log-probs: answers are read from the text", *self._named)
        self.answered += 1
        self.failed_in_a_row = 0
        self.spent += self._cost(answer)
        if self.server.max_cost is not None and not answer.reports_usage:
            self.broken = (
                f"{self.server.named} does not report its usage, so server.max_cost cannot be enforced; remove it."
            )

    @property
    def _named(self) -> tuple[str, str]:
        return self.whose, self.server.named

    def _failed(self, error: APIError) -> _Failure:
        why = in_words(error, self.server, self.key)
        status = error.status_code if isinstance(error, APIStatusError) else None
        self.failed_in_a_row += is_server_failure(error)
        if status == 401 and self.addresses.all_fail:
            named = self.server.api_key_env
            key = f"the key in {named} is refused" if named else "it needs a key; set server.api_key_env"
            self.broken = f"{self.server.named} answers HTTP 401: {key}."
        elif not self.answered and status in (403, 404) and self.addresses.all_fail:
            self.broken = f"{self.server.named} answers {why}. Check server.url and the model's name, {self.model!r}."
        elif not self.answered and is_unreachable(error) and self.addresses.all_fail:
            self.broken = f"nothing answers at {self.server.named} ({why}). Check server.url and that the server runs."
        elif self.failed_in_a_row >= max(HOPELESS, 4 * self.server.concurrency):
            self.broken = f"{self.server.named} failed {self.failed_in_a_row} times in a row ({why})."
        return _Failure(why, is_blocked(error.code))

    def _cost(self, answer: ChatAnswer) -> float:
        prices = self.server.prices
        return (answer.prompt_tokens * prices.input_million + answer.tokens * prices.output_million) / 1e6
