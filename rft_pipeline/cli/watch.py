"""Show a running job: a live table on a terminal, elsewhere a line every few seconds."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from rft_pipeline.cli import console
from rft_pipeline.runs.state import RunState

POLL_SECONDS = 0.5
LINE_SECONDS = 10.0


@contextmanager
def watching(run: RunState, screen: Console) -> Iterator[None]:
    """Show the run until the block ends."""
    stop = threading.Event()
    show = _live_table if screen.is_terminal else _lines
    thread = threading.Thread(target=show, args=(run, screen, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _live_table(run: RunState, screen: Console, stop: threading.Event) -> None:
    with Live(console=screen, refresh_per_second=4, transient=False) as live:
        stopped = False
        while not stopped:
            stopped = stop.wait(POLL_SECONDS)
            run.update()
            live.update(_table(run))


def _table(run: RunState) -> Table:
    unfinished = run.unfinished()
    table = console.table("stage", "state")
    for key in run.keys:
        if key in run.finished:
            table.add_row(escape(key), f"[green]{run.finished[key]}[/]")
        elif key in unfinished:
            table.add_row(escape(key), f"[yellow]{escape(unfinished[key])}[/]")
        else:
            table.add_row(f"[dim]{escape(key)}[/]", "")
    return table


def _lines(run: RunState, screen: Console, stop: threading.Event) -> None:
    printed = 0.0
    stopped = False
    while not stopped:
        stopped = stop.wait(POLL_SECONDS)
        states = {key: run.finished[key] for key in run.update()}
        if not stopped and time.monotonic() - printed >= LINE_SECONDS:
            printed = time.monotonic()
            states |= run.unfinished()
        for key, state in states.items():
            screen.print(escape(f"{key}: {state}"), soft_wrap=True)
