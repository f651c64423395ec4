"""Show a running job: a live table on a terminal, elsewhere lines about what changed."""

import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from rft_pipeline.cli import console
from rft_pipeline.progress import LINE_EVERY
from rft_pipeline.runs.state import CACHED, FAILED, INTERRUPTED, AtWork, RunState

POLL_SECONDS = 0.5


@contextmanager
def watching(run: RunState, screen: Console) -> Iterator[None]:
    """Show the run until the block ends. Afterwards `run.finished` is complete, whatever a look at the run met."""
    stop = threading.Event()
    show = _live_table if screen.is_terminal else _lines
    thread = threading.Thread(target=show, args=(run, screen, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    run.update()


@contextmanager
def _kept_on() -> Iterator[None]:
    """A look that fails, e.g. at a busy database, is one look less: its error goes to the log file of the run."""
    try:
        yield
    except Exception:
        traceback.print_exc()


def _live_table(run: RunState, screen: Console, stop: threading.Event) -> None:
    with Live(console=screen, refresh_per_second=4, transient=False) as live:
        stopped = False
        while not stopped:
            stopped = stop.wait(POLL_SECONDS)
            with _kept_on():
                run.update()
                live.update(_table(run))


def _table(run: RunState) -> Table:
    """The stages that were made, that failed or that run or wait; the others are counted."""
    at_work = run.at_work()
    table = console.table("stage", "state")
    for key in run.keys:
        state = run.finished.get(key)
        if state is None and key in at_work:
            table.add_row(escape(key), f"[yellow]{escape(at_work[key].words)}[/]")
        elif state is not None and state != CACHED:
            table.add_row(escape(key), f"[{'red' if state in (FAILED, INTERRUPTED) else 'green'}]{state}[/]")
    states = list(run.finished.values())
    cached, unmade = states.count(CACHED), {state: states.count(state) for state in (FAILED, INTERRUPTED)}
    counts = [f"{len(states) - sum(unmade.values())} of {len(run.keys)} stages done"]
    counts += [f"{cached} of them cached"] if cached else []
    counts += [f"{count} {state}" for state, count in unmade.items() if count]
    table.add_section()
    table.add_row("all", ", ".join(counts))
    return table


def _lines(run: RunState, screen: Console, stop: threading.Event) -> None:
    lines = Lines()
    stopped = False
    while not stopped:
        stopped = stop.wait(POLL_SECONDS)
        with _kept_on():
            run.update()
            for line in lines.of(run.finished, {} if stopped else run.at_work()):
                screen.print(escape(line), soft_wrap=True)


class Lines:
    """Chooses what a log says: what changed at once, how far a stage is every `LINE_EVERY` seconds, no line twice."""

    def __init__(self) -> None:
        self._phases: dict[str, str] = {}
        self._printed: dict[str, float] = {}
        self._said: set[str] = set()

    def of(self, made: Mapping[str, str], at_work: Mapping[str, AtWork]) -> list[str]:
        """The lines to print now, from the stages that were just made and those that run or wait."""
        lines = [f"{key}: {state}" for key, state in made.items()]
        now = time.monotonic()
        for key, (phase, words) in at_work.items():
            changed = self._phases.get(key) != phase
            if changed or now - self._printed[key] >= LINE_EVERY:
                self._phases[key], self._printed[key] = phase, now
                lines.append(f"{key}: {words}")
        new = [line for line in lines if line not in self._said]
        self._said.update(new)
        return new
