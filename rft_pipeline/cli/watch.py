"""Shows a running job: live on a terminal, a line every few seconds elsewhere."""

import os
import signal
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from rft_pipeline.progress import Report, read_progress
from rft_pipeline.runs.queue import queued
from rft_pipeline.store import Home

if TYPE_CHECKING:
    from dagster import DagsterInstance

EVERY = 0.5
LINE_EVERY = 10.0
CACHED = "cached"


class Watch:
    """A thread that looks at the run's materializations and at the progress files of its stages.

    When somebody cancels the run, e.g. in the UI, it interrupts this process, as Ctrl-C does.
    """

    def __init__(self, home: Home, instance: "DagsterInstance", tag: str, keys: list[str], screen: Console) -> None:
        self.home = home
        self.instance = instance
        self.tag = tag
        self.screen = screen
        self.keys = keys
        self.done: dict[str, str] = {}
        self.run_id: str | None = None
        self.cancelled = False
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Watch":
        self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop.set()
        self.thread.join()

    def _watch(self) -> None:
        if self.screen.is_terminal:
            with Live(console=self.screen, refresh_per_second=4, transient=False) as live:
                while not self.stop.wait(EVERY):
                    self._look()
                    live.update(self._table())
                self._look()
                live.update(self._table())
            return
        said = 0.0
        while not self.stop.wait(EVERY):
            for key in self._look():
                self.screen.print(escape(f"{key}: {self.done[key]}"), highlight=False, soft_wrap=True)
            if time.monotonic() - said >= LINE_EVERY:
                said = time.monotonic()
                for key, state in self._running().items():
                    self.screen.print(escape(f"{key}: {state}"), highlight=False, soft_wrap=True)
        for key in self._look():
            self.screen.print(escape(f"{key}: {self.done[key]}"), highlight=False, soft_wrap=True)

    def _look(self) -> list[str]:
        """Keys that were materialized since the last look."""
        import dagster as dg

        if self.run_id is None:
            runs = self.instance.get_runs(filters=dg.RunsFilter(tags={"rft/launch": self.tag}), limit=1)
            if not runs:
                return []
            self.run_id = runs[0].run_id
        self._end_when_cancelled(self.run_id)
        new = []
        for entry in self.instance.all_logs(self.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION):
            event = entry.dagster_event
            if event is None or event.asset_key is None:
                continue
            key = "/".join(event.asset_key.path)
            if key not in self.done:
                metadata = event.step_materialization_data.materialization.metadata
                seconds = metadata["seconds"].value
                self.done[key] = CACHED if metadata["cached"].value else f"made in {seconds:.0f} s"
                new.append(key)
        return new

    def _end_when_cancelled(self, run_id: str) -> None:
        """Dagster's launcher can only reach the runs it launched itself; for this one it leaves word."""
        import dagster as dg

        run = self.instance.get_run_by_id(run_id)
        ending = (dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED)
        if run is not None and run.status in ending and not self.cancelled:
            self.cancelled = True
            os.kill(os.getpid(), signal.SIGINT)

    def _running(self) -> dict[str, str]:
        """What the stages of this run are at: what they count, or whom they wait for."""
        if self.run_id is None:
            return {}
        campaign = self.keys[0].partition("/")[0]
        reports = read_progress(self.home.progress, self.run_id)
        at_work = {f"{campaign}/{report.stage}": in_words(report) for report in reports}
        return queued(self.instance, self.run_id) | at_work

    def _table(self) -> Table:
        running = self._running()
        table = Table("stage", "state", box=None, header_style="bold")
        for key in self.keys:
            if key in self.done:
                table.add_row(escape(key), f"[green]{self.done[key]}[/]")
            elif key in running:
                table.add_row(escape(key), f"[yellow]{escape(running[key])}[/]")
            else:
                table.add_row(f"[dim]{escape(key)}[/]", "")
        return table


def in_words(report: Report) -> str:
    """`64/192 rollouts, 7.9/s, 16 s left`, or whom the stage waits for."""
    if report.waits_for:
        return f"waiting for {report.waits_for}"
    left = report.seconds_left
    rest = "" if left is None else f", {report.rate:.1f}/s, {left:.0f} s left"
    return f"{report.done}/{report.total} {report.what}{rest}"
