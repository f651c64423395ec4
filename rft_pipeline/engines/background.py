"""Runs coroutines concurrently in a thread and yields each result when it is ready."""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from enum import Enum
from queue import SimpleQueue
from typing import TypeVar

import anyio
from anyio.from_thread import start_blocking_portal

Item = TypeVar("Item")
Result = TypeVar("Result")
Work = Callable[[Item], Awaitable[Result]]
Opened = Callable[[], AbstractAsyncContextManager[Work[Item, Result]]]


class _Mark(Enum):
    END = "end"


_UNREAD_PAUSE = 0.01
"""Seconds between two checks whether the reader has caught up."""


def as_they_finish(opened: Opened[Item, Result], items: Iterable[Item], concurrency: int) -> Iterator[Result]:
    """The results of the items in the order in which they finish, with at most `concurrency` running at once.

    `opened` is a context that yields the coroutine function and closes its resources. An item is taken from `items`
    only when it can start, and not while `concurrency` results wait for the reader. The work runs in a separate thread.
    If the reader stops early, running work is cancelled. The thread ends with the iterator.
    """
    results: SimpleQueue[Result | _Mark] = SimpleQueue()
    with start_blocking_portal() as portal:
        work = portal.start_task_soon(_run_all, opened, iter(items), concurrency, results)
        work.add_done_callback(lambda _: results.put(_Mark.END))
        try:
            while not isinstance(result := results.get(), _Mark):
                yield result
            work.result()
        finally:
            work.cancel()


async def _run_all(
    opened: Opened[Item, Result], items: Iterator[Item], concurrency: int, results: "SimpleQueue[Result | _Mark]"
) -> None:
    async def worker(work: Work[Item, Result]) -> None:
        for item in items:
            results.put(await work(item))
            while results.qsize() >= concurrency:
                await anyio.sleep(_UNREAD_PAUSE)

    async with opened() as work, anyio.create_task_group() as group:
        for _ in range(concurrency):
            group.start_soon(worker, work)
