"""A server of OpenAI's protocol that answers every question alike after a fixed delay; a process of its own."""

import asyncio
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from subprocess import PIPE, Popen

from aiohttp import web

_TOP = [{"token": token, "logprob": -0.7 - place} for place, token in enumerate(("Yes", "No", *"abcdefghijklmnopqr"))]
ANSWER = json.dumps(
    {
        "id": "chat-1",
        "object": "chat.completion",
        "model": "judge",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Yes"},
                "finish_reason": "stop",
                "logprobs": {"content": [{**_TOP[0], "top_logprobs": _TOP}]},
            }
        ],
        "usage": {"prompt_tokens": 300, "completion_tokens": 1, "total_tokens": 301},
    }
)
"""An answer in one word with the twenty likeliest tokens, as a server with log-probs gives it."""


@contextmanager
def serving(delay: float) -> Iterator[str]:
    """The address of a running server, up to `/v1`."""
    with Popen([sys.executable, "-m", "benchmarks.http_server", str(delay)], stdout=PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
        finally:
            process.kill()


async def serve(delay: float) -> None:
    async def chat(request: web.Request) -> web.Response:
        await request.read()
        await asyncio.sleep(delay)
        return web.Response(text=ANSWER, content_type="application/json")

    app = web.Application()
    app.router.add_post("/v1/chat/completions", chat)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[1])))
