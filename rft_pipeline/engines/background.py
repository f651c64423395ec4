"""Coroutines behind an ordinary iterator: several at once, each result as soon as it is there."""

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
"""Seconds between two looks at whether the reader has caught up."""


def as_they_finish(opened: Opened[Item, Result], items: Iterable[Item], concurrency: int) -> Iterator[Result]:
    """The result of each item, in the order in which they finish, with at most `concurrency` under way.

    `opened` gives the work, and closes what it needs. An item is drawn from `items` only when its turn has come, and
    not while `concurrency` results wait for the reader. The work goes on in a thread of its own while the reader is
    busy. A reader that stops early cancels what is under way; in any case the thread has ended when the iterator has.
    """
    results: SimpleQueue[Result | _Mark] = SimpleQueue()
    with start_blocking_portal() as portal:
        work = portal.start_task_soon(_work_off, opened, iter(items), concurrency, results)
        work.add_done_callback(lambda _: results.put(_Mark.END))
        try:
            while not isinstance(result := results.get(), _Mark):
                yield result
            work.result()
        finally:
            work.cancel()


async def _work_off(
    opened: Opened[Item, Result], items: Iterator[Item], concurrency: int, results: "SimpleQueue[Result | _Mark]"
) -> None:
    async def one_by_one(work: Work[Item, Result]) -> None:
        for item in items:
            results.put(await work(item))
            while results.qsize() >= concurrency:
                await anyio.sleep(_UNREAD_PAUSE)

    async with opened() as work, anyio.create_task_group() as group:
        for _ in range(concurrency):
            group.start_soon(one_by_one, work)
