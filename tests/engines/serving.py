"""The faulty server as a test sees it."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from rft_pipeline.campaign import Answering, Server
from rft_pipeline.engines import ChatReply, ChatRequest
from rft_pipeline.engines.openai import OpenAIEngine
from tests.engines.faulty_server import Plan

SETTINGS: dict[str, Any] = {"concurrency": 8, "timeout_seconds": 5.0, "attempts": 3}


@dataclass(frozen=True)
class Serving:
    root: str
    process: "subprocess.Popen[str]"

    @property
    def url(self) -> str:
        return f"{self.root}/v1"

    def plan(self, **settings: Any) -> Plan:
        """From now on."""
        plan = Plan(**settings)
        self._call("/plan", json.dumps(asdict(plan)).encode())
        return plan

    def seen(self) -> Any:
        return self._call("/seen")

    def engine(
        self, model: str = "served:judge", how: Mapping[str, Any] | None = None, **settings: Any
    ) -> OpenAIEngine:
        server = Server.model_validate({"url": self.url, **SETTINGS, **settings})
        return OpenAIEngine(model, server, "judges.strong", Answering.model_validate(how or {}))

    def _call(self, path: str, body: bytes | None = None) -> Any:
        request = urllib.request.Request(self.root + path, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)


@contextmanager
def serving() -> Iterator[Serving]:
    command = [sys.executable, "-m", "tests.engines.faulty_server"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield Serving(f"http://127.0.0.1:{int(process.stdout.readline())}", process)
        finally:
            process.kill()


def question(number: int, what: str = "Is number {} good?", **settings: Any) -> ChatRequest:
    fixed: dict[str, Any] = {"seed": number, "max_tokens": 4, **settings}
    return ChatRequest(f"q{number}", (("user", what.format(number)),), **fixed)


def questions(count: int, **settings: Any) -> list[ChatRequest]:
    return [question(number, **settings) for number in range(count)]


def by_id(replies: list[ChatReply]) -> dict[str, ChatReply]:
    found = {reply.request_id: reply for reply in replies}
    assert len(found) == len(replies)
    return found
