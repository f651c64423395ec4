"""Stages of the tiny campaign in a process of their own, which may be killed.

The processes are forked from one that has everything imported, so each starts at once.
"""

import logging
import multiprocessing
import os
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection

from rft_pipeline.campaign.cycles import load_current
from rft_pipeline.pipeline import Pipeline
from rft_pipeline.progress import Progress
from rft_pipeline.store import Home

PRELOADED = ["rft_pipeline.runs.step_server", "tests.runs", "tests.pipeline.watched"]
"""For all tests that fork: the process they are forked from starts once, with the first list it is given."""


class StageProcess:
    """Runs stages in the home and data folder in force, and rests after each piece of work, to be seen or killed."""

    def __init__(self, names: Sequence[str], rest: float) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        where = {name: value for name, value in os.environ.items() if name.startswith(("RFT_", "AWS_"))}
        self.theirs, ours = context.Pipe(duplex=False)
        self.process = context.Process(target=_main, args=(list(names), rest, where, ours))
        self.process.start()
        ours.close()

    def kill(self) -> None:
        """SIGKILL: no handler and no `finally` runs."""
        assert self.process.is_alive()
        self.process.kill()
        self.process.join()

    def finish(self) -> tuple[list[tuple[bool, str]], list[str]]:
        """Of each record whether it was cached and its content hash; and what was logged."""
        found: tuple[list[tuple[bool, str]], list[str]] = self.theirs.recv()
        self.process.join()
        return found


def _main(names: list[str], rest: float, where: dict[str, str], ours: Connection) -> None:
    os.environ.update(where)
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("rft_pipeline").addHandler(handler)
    advance = Progress.advance

    def advance_and_rest(self: Progress, n: int, what: str = "") -> None:
        advance(self, n, what)
        time.sleep(rest)

    Progress.advance = advance_and_rest  # type: ignore[method-assign]
    home = Home.find()
    campaign = load_current(home, "tiny")
    records = {name: Pipeline(home).run(campaign, name) for name in names}
    ours.send(([(record.cached, record.content_hash) for record in records.values()], said))
