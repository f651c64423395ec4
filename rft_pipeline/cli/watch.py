"""Shows a running job: live on a terminal, a line every few seconds elsewhere."""

import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.table import Table

from rft_pipeline.progress import Report, read_progress
from rft_pipeline.store import Home

if TYPE_CHECKING:
    from dagster import DagsterInstance

EVERY = 0.5
LINE_EVERY = 10.0
CACHED = "cached"


class Watch:
    """A thread that looks at the run's materializations and at the progress files of its stages."""

    def __init__(self, home: Home, instance: "DagsterInstance", tag: str, keys: list[str], screen: Console) -> None:
        self.home = home
        self.instance = instance
        self.tag = tag
        self.screen = screen
        self.keys = keys
        self.done: dict[str, str] = {}
        self.run_id: str | None = None
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Watch":
        for stale in self.home.progress.glob("*.json"):
            if stale.stem.replace(".", "/") in self.keys:
                stale.unlink(missing_ok=True)
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
                self.screen.print(f"{key}: {self.done[key]}", highlight=False, soft_wrap=True)
            if time.monotonic() - said >= LINE_EVERY:
                said = time.monotonic()
                for report in read_progress(self.home.progress):
                    self.screen.print(in_words(report), highlight=False, soft_wrap=True)
        for key in self._look():
            self.screen.print(f"{key}: {self.done[key]}", highlight=False, soft_wrap=True)

    def _look(self) -> list[str]:
        """Keys that were materialized since the last look."""
        import dagster as dg

        if self.run_id is None:
            runs = self.instance.get_runs(filters=dg.RunsFilter(tags={"rft/launch": self.tag}), limit=1)
            if not runs:
                return []
            self.run_id = runs[0].run_id
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

    def _table(self) -> Table:
        running = {report.stage: report for report in read_progress(self.home.progress)}
        table = Table("stage", "state", box=None, header_style="bold")
        for key in self.keys:
            name = key.partition("/")[2]
            if key in self.done:
                table.add_row(key, f"[green]{self.done[key]}[/]")
            elif name in running:
                table.add_row(key, f"[yellow]{_measured(running[name])}[/]")
            else:
                table.add_row(f"[dim]{key}[/]", "")
        return table


def in_words(report: Report) -> str:
    """`round_1/rollouts: 64/192 rollouts, 7.9/s, 16 s left`."""
    return f"{report.stage}: {_measured(report)}"


def _measured(report: Report) -> str:
    left = report.seconds_left
    rest = "" if left is None else f", {report.rate:.1f}/s, {left:.0f} s left"
    return f"{report.done}/{report.total} {report.what}{rest}"
