"""Coroutines behind an ordinary iterator: several at once, each result as soon as it is there."""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

import anyio
from anyio.from_thread import start_blocking_portal
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

Item = TypeVar("Item")
Result = TypeVar("Result")
Work = Callable[[Item], Awaitable[Result]]


def as_they_finish(
    opened: Callable[[], AbstractAsyncContextManager[Work[Item, Result]]], items: Iterable[Item], concurrency: int
) -> Iterator[Result]:
    """The result of each item, in the order in which they finish, with at most `concurrency` under way.

    `opened` gives the work, and closes what it needs. An item is drawn from `items` only when its turn has come; at
    most `concurrency` results wait for the reader. The work goes on in a thread of its own while the reader is busy.
    A reader that stops early cancels what is under way; in any case the thread has ended when the iterator has.
    """
    put, results = anyio.create_memory_object_stream[Result](concurrency)
    with start_blocking_portal() as portal, results:
        work = portal.start_task_soon(_work_off, opened, iter(items), concurrency, put)
        try:
            while ready := portal.call(_ready, results):
                yield from ready
            work.result()
        finally:
            work.cancel()


async def _work_off(
    opened: Callable[[], AbstractAsyncContextManager[Work[Item, Result]]],
    items: Iterator[Item],
    concurrency: int,
    put: MemoryObjectSendStream[Result],
) -> None:
    async def one_by_one(work: Work[Item, Result]) -> None:
        for item in items:
            await put.send(await work(item))

    async with put, opened() as work, anyio.create_task_group() as group:
        for _ in range(concurrency):
            group.start_soon(one_by_one, work)


async def _ready(results: MemoryObjectReceiveStream[Result]) -> list[Result]:
    """What is there, at least one; nothing when all is done."""
    ready = []
    try:
        ready.append(await results.receive())
        while True:
            ready.append(results.receive_nowait())
    except (anyio.EndOfStream, anyio.WouldBlock):
        return ready
