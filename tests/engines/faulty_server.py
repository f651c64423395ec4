"""A server that speaks enough of OpenAI's protocol and fails as it is told; it runs as a process of its own.

A question holds `number N`. What happens to it follows from N and the plan alone, so that a test can tell beforehand.
POST /plan sets a plan and forgets what was seen; GET /seen tells what came in.
"""

import asyncio
import json
import random
import re
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from aiohttp import web

FAILING = ("500", "429", "hang", "reset", "half", "error_200", "choice_error", "no_choice", "abort")
"""No answer comes: for the first try, or for every try."""
ODD = ("wrong_ids", "two_verdicts", "smuggled", "empty", "filtered")
"""An answer comes, but not the one expected."""
NUMBER = re.compile(r"number (\d+)")


@dataclass(frozen=True)
class Plan:
    seed: int = 0
    share: float = 0.0
    """Numbers that something happens to."""
    kinds: tuple[str, ...] = FAILING + ODD
    lasting: float = 0.5
    """Share of the failing ones that fail at every try."""
    retry_after: str = "0.1"
    delay: float = 0.0
    key: str = ""
    """The only key that is let in; any when empty."""
    refuses: tuple[str, ...] = ()
    """Fields answered with 400."""
    refusal: str = ""
    """The words it does so in."""
    refusal_code: str = ""
    reasoning: int = 0
    """Tokens it reasons before it answers; a smaller budget ends in an empty answer."""
    empty_schema: bool = False
    """Whether an answer to a schema is empty."""
    most_logprobs: int = 20
    logprobs: bool = True
    usage: bool = True
    says: str = ""
    """Always this text."""
    needs: str = ""
    """Without this text in what is asked, every verdict is yes."""
    writes: tuple[str, ...] = ()
    """Questions that it writes where it is asked to write for a judge, in turn."""


def fault_of(plan: Plan, number: int) -> tuple[str, bool]:
    """What happens to a number, and whether at every try."""
    chance = random.Random(f"{plan.seed}/{number}")
    if chance.random() >= plan.share:
        return "", False
    kind = chance.choice(plan.kinds)
    return kind, kind in FAILING and chance.random() < plan.lasting


def verdict_of(number: int) -> str:
    return "no" if number % 3 == 0 else "yes"


@dataclass
class Seen:
    tries: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Arrival of each try, by number, in seconds."""
    answered: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    bodies: list[dict[str, Any]] = field(default_factory=list)
    under_way: int = 0
    most: int = 0
    written: int = 0


class Faulty:
    def __init__(self) -> None:
        self.plan, self.seen = Plan(), Seen()

    async def set_plan(self, request: web.Request) -> web.Response:
        self.plan, self.seen = Plan(**await request.json()), Seen()
        return web.json_response(asdict(self.plan))

    async def tell(self, request: web.Request) -> web.Response:
        return web.json_response(vars(self.seen))

    async def chat(self, request: web.Request) -> web.StreamResponse:
        seen = self.seen
        seen.under_way += 1
        seen.most = max(seen.most, seen.under_way)
        try:
            return await self._chat(request)
        finally:
            seen.under_way -= 1

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        plan, body = self.plan, await request.json()
        sent = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if plan.key and sent != plan.key:
            return error(401, f"Incorrect API key provided: {sent}")
        if body["model"] != "judge":
            return error(404, f"The model `{body['model']}` does not exist.")
        self.seen.bodies = [*self.seen.bodies[-9:], body]
        if refused := [name for name in plan.refuses if name in body]:
            if plan.refusal:
                return error(400, plan.refusal, code=plan.refusal_code)
            instead = ". Use 'max_completion_tokens' instead." if "max_tokens" in refused else ""
            return error(400, f"Unsupported parameter: '{refused[0]}'{instead}")
        if body.get("top_logprobs", 0) > plan.most_logprobs:
            return error(400, f"Requested sample logprobs of 20, greater than max allowed: {plan.most_logprobs}")
        asked = body["messages"][-1]["content"]
        found = NUMBER.search(asked)
        number = int(found[1]) if found else 0
        self.seen.tries[number].append(time.monotonic())
        await asyncio.sleep(plan.delay)
        kind, lasts = fault_of(plan, number)
        if kind in FAILING and (lasts or len(self.seen.tries[number]) == 1):
            return await self._fail(kind, request)
        self.seen.answered[number] += 1
        return web.json_response(self._answer(kind, number, asked, body))

    async def _fail(self, kind: str, request: web.Request) -> web.StreamResponse:
        match kind:
            case "500":
                return error(500, "the server is ill")
            case "429":
                return error(429, "too many requests", {"Retry-After": self.plan.retry_after})
            case "hang":
                await asyncio.sleep(60)
            case "half":
                return web.Response(text='{"choices": [{"message": {"content": "ye', content_type="application/json")
            case "error_200":
                return web.json_response({"error": {"message": "the provider is ill", "code": 502}})
            case "no_choice":
                return web.json_response({"choices": []})
            case "choice_error" | "abort":
                part = {"message": {"content": "Yes, dear customer, we will"}, "finish_reason": kind}
                if kind == "choice_error":
                    part |= {"finish_reason": "error", "error": {"message": "the provider is gone", "code": 502}}
                return web.json_response({"choices": [part]})
        if request.transport is not None:
            request.transport.abort()
        return web.Response()

    def _answer(self, kind: str, number: int, asked: str, body: Mapping[str, Any]) -> dict[str, Any]:
        plan, verdict = self.plan, verdict_of(number) if self.plan.needs in asked else "yes"
        other = "No" if verdict == "yes" else "Yes"
        mine = json.dumps({"reason": "so it is", "verdict": verdict})
        text = mine if "JSON object" in asked else verdict.capitalize()
        if "top_p" in body:
            text = f"drawn from {number} with seed {body.get('seed')}"
        if plan.writes and "Write for the judge" in asked:
            text = json.dumps({"reason": "so it is", "question": plan.writes[self.seen.written % len(plan.writes)]})
            self.seen.written += 1
        match kind:
            case "two_verdicts":
                text = json.dumps({"reason": "at first", "verdict": other.lower()}) + " is not so. " + mine
            case "smuggled":
                text = f"{asked}\n{mine}"
            case "empty":
                text = ""
        text = plan.says or text
        message = {"role": "assistant", "content": text}
        choice: dict[str, Any] = {"index": 0, "message": message, "finish_reason": "stop"}
        if kind == "filtered":
            message["content"], choice["finish_reason"] = text[:4], "content_filter"
        if plan.empty_schema and "response_format" in body:
            message["content"] = ""
        if plan.reasoning:
            message["reasoning_content"] = "Let me see."
            if plan.reasoning >= body.get("max_tokens", body.get("max_completion_tokens")):
                message["content"], choice["finish_reason"] = None, "length"
        if body.get("logprobs") and plan.logprobs:
            top = [(verdict.capitalize(), -0.5), (f" {verdict}", -1.5), (other, -3.0)]
            listed = [{"token": token, "logprob": logprob} for token, logprob in top]
            choice["logprobs"] = {"content": [{**listed[0], "top_logprobs": listed}]}
        answer = {"id": f"chat-{number}", "model": "judge", "object": "chat.completion", "choices": [choice]}
        if plan.usage:
            answer["usage"] = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
        if kind == "wrong_ids":
            answer |= {"id": "chat-0", "model": "another", "object": 7, "created": "today", "new_field": {"a": [None]}}
        return answer


def error(status: int, message: str, headers: Mapping[str, str] | None = None, code: str = "") -> web.Response:
    return web.json_response({"error": {"message": message, "code": code or status}}, status=status, headers=headers)


async def serve() -> None:
    faulty, app = Faulty(), web.Application()
    app.router.add_post("/plan", faulty.set_plan)
    app.router.add_get("/seen", faulty.tell)
    app.router.add_post("/v1/chat/completions", faulty.chat)
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve())
