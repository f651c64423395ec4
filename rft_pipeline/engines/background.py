"""Runs coroutines concurrently in a thread and yields each result when it is ready."""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from enum import Enum
from queue import SimpleQueue
from typing import Any, TypeVar

import anyio
from anyio.from_thread import BlockingPortalProvider
from anyio.lowlevel import RunVar

Item = TypeVar("Item")
Result = TypeVar("Result")
Handler = Callable[[Item], Awaitable[Result]]
Opened = Callable[[], AbstractAsyncContextManager[Handler[Item, Result]]]


class _Mark(Enum):
    END = "end"


_UNREAD_PAUSE = 0.01
"""Seconds between two checks whether the reader has caught up."""


class Background:
    """A thread with an event loop, which exists while somebody reads results.

    Several threads may read, each the results of its own items. At most `concurrency` items run at once in total.
    """

    def __init__(self, concurrency: int) -> None:
        self.concurrency = concurrency
        self._thread = BlockingPortalProvider()
        self._slots: RunVar[anyio.CapacityLimiter | None] = RunVar("slots", None)
        """One for each event loop."""
        self._running: set[Future[Any]] = set()

    def as_they_finish(self, opened: Opened[Item, Result], items: Iterable[Item]) -> Iterator[Result]:
        """The results of the items in the order in which they finish.

        `opened` is a context that yields the coroutine function and closes its resources. Both it and `items` are run
        by the thread, whose event loop is the same for all readers at one time. An item is taken from `items` only when
        it can start, and not while `concurrency` results wait for the reader. If the reader stops early, running work
        is cancelled.
        """
        results: SimpleQueue[Result | _Mark] = SimpleQueue()
        with self._thread as portal:
            work = portal.start_task_soon(self._run_all, opened, iter(items), results)
            self._running.add(work)
            work.add_done_callback(lambda _: results.put(_Mark.END))
            try:
                while not isinstance(result := results.get(), _Mark):
                    yield result
                work.result()
            finally:
                work.cancel()
                self._running.discard(work)

    def cancel(self) -> None:
        """Cancel all running work; each reader gets a `CancelledError`."""
        for work in list(self._running):
            work.cancel()

    async def _run_all(
        self, opened: Opened[Item, Result], items: Iterator[Item], results: "SimpleQueue[Result | _Mark]"
    ) -> None:
        if (slots := self._slots.get()) is None:
            slots = anyio.CapacityLimiter(self.concurrency)
            self._slots.set(slots)

        async def worker(work: Handler[Item, Result]) -> None:
            while True:
                async with slots:
                    item = next(items, _Mark.END)
                    if isinstance(item, _Mark):
                        return
                    results.put(await work(item))
                while results.qsize() >= self.concurrency:
                    await anyio.sleep(_UNREAD_PAUSE)

        async with opened() as work, anyio.create_task_group() as group:
            for _ in range(self.concurrency):
                group.start_soon(worker, work)
