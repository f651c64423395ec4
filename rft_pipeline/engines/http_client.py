"""The HTTP client of a server, and its errors in words.

The `openai` package retries a call after a time-out, a broken connection, 408, 409, 429 and 5xx. It waits as long as
Retry-After says (up to two minutes), or increasingly long with jitter. This module adds two things: an answer that
cannot be read counts as a broken connection, and the time-out applies to the whole answer. The transport over aiohttp
needs half the processor time of the default one.
"""

import asyncio
import os
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
            f"of {server.url}, or remove api_key_env if the server needs none"
        )
    if not (key.isascii() and key.isprintable()):
        raise ConfigError(f"{whose}.server.api_key_env: {server.api_key_env} contains characters that no key can have")
    return key


def open_client(server: Server, key: str) -> AsyncOpenAI:
    """A client for one event loop."""
    limits = httpx2.Limits(max_connections=server.concurrency, max_keepalive_connections=server.concurrency)
    return AsyncOpenAI(
        base_url=server.url,
        api_key=key,
        max_retries=server.attempts - 1,
        timeout=server.timeout_seconds,
        http_client=_Client(server.timeout_seconds, limits),
    )


class _Client(DefaultAioHttpClient):
    def __init__(self, seconds: float, limits: httpx2.Limits) -> None:
        super().__init__(timeout=seconds, limits=limits)
        self.seconds = seconds

    async def send(self, request: httpx2.Request, **how: Any) -> httpx2.Response:
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
