"""The HTTP client of a server, and its errors in words.

The `openai` package retries a call after a time-out, a broken connection, 408, 409, 429 and 5xx. It waits as long as
Retry-After says (up to two minutes), or increasingly long with jitter. This module adds two things: an answer that
cannot be read counts as a broken connection, and the time-out applies to the whole answer. The transport over aiohttp
needs half the processor time of the default one.
"""

import asyncio
import os
import time
from collections.abc import Sequence
from typing import Any

import aiohttp
import httpx2
from openai import APIConnectionError, APIError, APIStatusError, APITimeoutError, AsyncOpenAI, DefaultAioHttpClient

from rft_pipeline.engines.chat_answer import read_answer
from rft_pipeline.engines.settings import Server
from rft_pipeline.errors import ConfigError, without_secrets

NO_KEY = "none"
"""The key for a server that needs none."""
ANSWER = "rft_pipeline.answer"
"""The response extension that holds the parsed answer."""
LONGEST_PAUSE = 60.0
"""Maximum seconds that a server which failed gets no call, if there are others."""
ELSEWHERE = (401, 403, 404)
"""Answers of a server that lacks the model or refuses the key: another one is tried, if there is one."""
_QUOTED = 300
"""Maximum length of a server's message in an error."""


def find_key(server: Server, whose: str) -> str:
    """The key of the server. Raises `ConfigError`, which never contains the key."""
    if server.api_key_env is None:
        return NO_KEY
    key = os.environ.get(server.api_key_env, "").strip()
    if not key:
        raise ConfigError(
            f"{whose}.server.api_key_env: the environment variable {server.api_key_env} is not set; set it to the key "
            f"of {server.named}, or remove api_key_env if the server needs none"
        )
    if not (key.isascii() and key.isprintable()):
        raise ConfigError(f"{whose}.server.api_key_env: {server.api_key_env} contains characters that no key can have")
    return key


class Addresses:
    """The servers of one model: which of them gets the next call. One event loop at a time uses it."""

    def __init__(self, urls: Sequence[str]) -> None:
        self.urls = [httpx2.URL(each) for each in urls]
        self.running = [0] * len(urls)
        """Calls that wait for an answer."""
        self._failures = [0] * len(urls)
        """Since its last answer."""
        self._paused_until = [0.0] * len(urls)
        """On the clock `time.monotonic`."""

    def pick(self) -> int:
        """The server with the fewest calls among those that are not paused; if all are, the one whose pause ends
        first."""
        now = time.monotonic()
        return min(
            range(len(self.urls)), key=lambda each: (max(self._paused_until[each] - now, 0.0), self.running[each])
        )

    def failed(self, each: int) -> None:
        """Pause a server: 1 s after its first failure, twice as long after each further one, at most 60 s.

        During its pause nothing is counted: the calls under way when it failed fail with it.
        """
        now = time.monotonic()
        if now < self._paused_until[each]:
            return
        self._paused_until[each] = now + min(LONGEST_PAUSE, 2.0 ** self._failures[each])
        self._failures[each] += 1

    def answered(self, each: int) -> None:
        self._failures[each], self._paused_until[each] = 0, 0.0

    @property
    def all_fail(self) -> bool:
        """Whether none has answered since its last failure."""
        return all(self._failures)

    def of(self, each: int, url: httpx2.URL) -> httpx2.URL:
        """A URL below the first address, at another address."""
        first, other = self.urls[0], self.urls[each]
        path = other.path.rstrip("/") + url.path.removeprefix(first.path.rstrip("/"))
        return url.copy_with(scheme=other.scheme, host=other.host, port=other.port, userinfo=other.userinfo, path=path)


def open_client(server: Server, key: str, addresses: Addresses) -> AsyncOpenAI:
    """A client for one event loop."""
    limits = httpx2.Limits(max_connections=server.concurrency, max_keepalive_connections=server.concurrency)
    return AsyncOpenAI(
        base_url=server.addresses[0],
        api_key=key,
        max_retries=server.attempts - 1,
        timeout=server.timeout_seconds,
        http_client=_Client(server.timeout_seconds, limits, addresses),
    )


class _Client(DefaultAioHttpClient):
    def __init__(self, seconds: float, limits: httpx2.Limits, addresses: Addresses) -> None:
        super().__init__(timeout=seconds, limits=limits)
        self.seconds = seconds
        self.addresses = addresses

    async def send(self, request: httpx2.Request, **how: Any) -> httpx2.Response:
        """Send to one of the servers; the `openai` package calls this for each try."""
        servers = self.addresses
        each = servers.pick()
        if each > 0:
            request.url = servers.of(each, request.url)
            request.headers["Host"] = request.url.netloc.decode("ascii")
        servers.running[each] += 1
        try:
            response = await self._send(request, **how)
        except httpx2.RequestError:
            servers.failed(each)
            raise
        finally:
            servers.running[each] -= 1
        if len(servers.urls) > 1 and response.status_code in ELSEWHERE:
            response.headers["x-should-retry"] = "true"  # what the `openai` package goes by
        if response.status_code in ELSEWHERE or response.status_code == 429 or response.status_code >= 500:
            servers.failed(each)
        else:
            servers.answered(each)
        return response

    async def _send(self, request: httpx2.Request, **how: Any) -> httpx2.Response:
        try:
            async with asyncio.timeout(self.seconds):
                response = await super().send(request, **how)
        except TimeoutError as error:
            raise httpx2.ReadTimeout("no answer in time", request=request) from error
        except (httpx2.TimeoutException, aiohttp.ClientError) as error:
            raise _classified(error, request) from error
        if response.is_success:
            try:
                response.extensions[ANSWER] = read_answer(response.content)
            except ValueError as error:
                raise httpx2.RemoteProtocolError(str(error), request=request) from error
        return response


def _classified(error: Exception, request: httpx2.Request) -> httpx2.RequestError:
    """The correct error type: the transport reports every broken connection as a time-out."""
    cause = error.__cause__ if isinstance(error, httpx2.TimeoutException) else error
    match cause:
        case aiohttp.ServerTimeoutError():
            return httpx2.ReadTimeout(str(cause), request=request)
        case aiohttp.ClientConnectorError():
            return httpx2.ConnectError(str(cause), request=request)
        case aiohttp.ClientError():
            return httpx2.RemoteProtocolError(f"{cause or type(cause).__name__}", request=request)
        case _:
            return httpx2.ReadTimeout(str(error), request=request)


def in_words(error: APIError, server: Server, key: str) -> str:
    """The error in one line, without keys, passwords and tokens."""
    match error:
        case APITimeoutError():
            what = f"no answer within {server.timeout_seconds:g} s, {server.attempts} tries"
        case APIConnectionError():
            cause = error.__cause__ or error
            what = f"{type(cause).__name__}: {cause}, {server.attempts} tries"
        case APIStatusError(status_code=401):
            what = "HTTP 401: the server refuses the key"  # the server's message may contain the key
        case APIStatusError(body={"message": str(said)}):
            what = f"HTTP {error.status_code}: {said}"
        case APIStatusError():
            what = f"HTTP {error.status_code}: {error.response.text or error.response.reason_phrase}"
        case _:
            what = str(error)
    shown = without_secrets(what if key == NO_KEY else what.replace(key, "…"))
    line = " ".join(shown.split()).rstrip(".")
    return line if len(line) <= _QUOTED else f"{line[:_QUOTED]}…"


def is_unreachable(error: APIError) -> bool:
    """Whether the connection was refused or the host was not found."""
    return isinstance(error, APIConnectionError) and isinstance(error.__cause__, httpx2.ConnectError)


def is_server_failure(error: APIError) -> bool:
    """Whether the error is about the server rather than the question."""
    return not isinstance(error, APIStatusError) or error.status_code == 429 or error.status_code >= 500
