"""HTTP: how much of what a server can answer does a judge get out of it?

Timed is a binary judge that asks a served model: template, fences, calls, log-probs and verdicts. The plain side sends
the very same bodies with a bare aiohttp session and reads the answers' bytes, with as many calls at once. The server
runs in a process of its own and answers after a fixed delay. What a call takes of our processor is told too: it bounds
how many calls a second one process can make of a server that is quicker.
"""

import asyncio
import json
import os
import platform
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Annotated

import aiohttp
import typer
from rich.table import Table

from benchmarks.common import Goal, OneEngine, Pair, PairCount, alternate, conclude, median_ratio, run, say
from benchmarks.http_server import serving
from rft_pipeline.campaign import Server
from rft_pipeline.cli import console
from rft_pipeline.engines import ChatReply, ChatRequest
from rft_pipeline.engines.openai import OpenAIEngine
from rft_pipeline.judges import BinaryJudge, Status, make_judge
from rft_pipeline.rules import Rollout

GOAL = 0.9
"""Least ratio of our calls a second to the bare session's."""
JUDGE = BinaryJudge(protocol="binary", question="Is the reply polite and does it answer the question?")


@dataclass
class Recorder:
    """An asker that keeps what it is asked."""

    asked: list[ChatRequest] = field(default_factory=list)
    control_tokens: frozenset[str] = frozenset()

    def ask(self, requests: Sequence[ChatRequest]) -> Iterator[ChatReply]:
        self.asked += requests
        return iter(())


def http(
    calls: Annotated[int, typer.Option(min=1, help="Replies that are judged in each turn.")] = 480,
    concurrency: Annotated[int, typer.Option(min=1, help="Calls under way at once.")] = Server.model_fields[
        "concurrency"
    ].default,
    delay: Annotated[float, typer.Option(min=0, help="Seconds the server takes for an answer.")] = 0.25,
    pairs: PairCount = 5,
) -> None:
    """Judgements a second over HTTP against a bare asynchronous load generator on the same server."""
    rollouts = [
        Rollout(f"Where is parcel {i}?", f"It is on its way. {'Sorry! ' * 40}", "stop", {}) for i in range(calls)
    ]
    with serving(delay) as url:
        engine = OpenAIEngine("served:judge", Server(url=url, concurrency=concurrency), "judge")
        judge = make_judge(JUDGE, OneEngine(engine))
        bodies = [json.dumps(engine.question(request)).encode() for request in recorded(rollouts)]

        busy: list[float] = []

        def ours(turn: int) -> int:
            began = time.process_time()
            done = sum(judgement.status is Status.SCORED for judged in judge.score(rollouts) for _, judgement in judged)
            busy.append((time.process_time() - began) / calls)
            return done

        def plain(turn: int) -> int:
            return asyncio.run(bare(url, bodies, concurrency))

        say("one turn of each side to warm up")
        ours(-1)
        plain(-1)
        timed = alternate(ours, plain, pairs)
    caption = (
        f"{calls} calls a turn, {concurrency} at once, answers after {delay * 1000:g} ms; {platform.machine()} CPU, "
        f"{os.cpu_count()} cores; openai {version('openai')}, aiohttp {version('aiohttp')}"
    )
    console.out.print(calls_table(caption, timed))
    each = statistics.median(busy[1:])
    console.out.print(f"processor time of a judgement: {each * 1000:.2f} ms, so at most {1 / each:.0f} calls a second")
    ratio = median_ratio(timed)
    conclude([Goal("judge to bare session, calls a second, median", f"{ratio:.3f}", f"≥ {GOAL}", ratio >= GOAL)])


def recorded(rollouts: Sequence[Rollout]) -> list[ChatRequest]:
    """What the judge asks about them."""
    recorder = Recorder()
    for _ in make_judge(JUDGE, OneEngine(recorder)).score(rollouts):
        pass
    return recorder.asked


async def bare(url: str, bodies: Sequence[bytes], concurrency: int) -> int:
    """Send all bodies, `concurrency` at once, and read the answers; how many came."""
    waiting = iter(bodies)
    answered = 0

    async def one_by_one(session: aiohttp.ClientSession) -> None:
        nonlocal answered
        for body in waiting:
            async with session.post(f"{url}/chat/completions", data=body, headers=headers) as response:
                answered += response.status == 200 and len(await response.read()) > 0

    headers = {"Content-Type": "application/json"}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=concurrency)) as session:
        await asyncio.gather(*(one_by_one(session) for _ in range(concurrency)))
    return answered


def calls_table(caption: str, pairs: Sequence[Pair]) -> Table:
    table = Table("calls a second", "median", "min–max", title="Judging over HTTP", caption=caption)
    for side, timed in zip(("binary judge", "bare session"), zip(*pairs, strict=True), strict=True):
        speeds = [one.speed for one in timed]
        table.add_row(side, f"{statistics.median(speeds):.0f}", f"{min(speeds):.0f}–{max(speeds):.0f}")
    ratios = [pair.ratio for pair in pairs]
    table.add_section()
    table.add_row("[bold]ratio[/]", f"[bold]{median_ratio(pairs):.3f}[/]", f"{min(ratios):.3f}–{max(ratios):.3f}")
    return table


if __name__ == "__main__":
    run(http)
