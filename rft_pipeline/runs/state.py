"""The state of a run that this process executes: which stages are finished, and what the others do or wait for."""

import os
import signal
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from rft_pipeline.progress import StageProgress, duration, kind_of, read_progress
from rft_pipeline.runs.queue import queued
from rft_pipeline.store import Home

if TYPE_CHECKING:
    from dagster import DagsterInstance

CACHED, FAILED, INTERRUPTED = "cached", "failed", "interrupted"
LAUNCH = ".dagster/rft_launch"
"""The tag by which a process finds the run that it executes."""


class AtWork(NamedTuple):
    """What a stage does or waits for."""

    phase: str
    """Changes with the kind of work, not with its counts."""
    words: str


class RunState:
    """A campaign's run: what it makes, and how far it is after the last `update`."""

    def __init__(self, home: Home, instance: "DagsterInstance", campaign: str, keys: Sequence[str]) -> None:
        self.home = home
        self.instance = instance
        self.campaign = campaign
        self.keys = keys
        self.launch = uuid.uuid4().hex
        self.run_id: str | None = None
        self.cancelled = False
        self.finished: dict[str, str] = {}
        """Asset key → `cached`, `made in 4 s`, `failed` or `interrupted`."""

    def update(self) -> None:
        """Read which keys were materialized, and which failed.

        Dagster's launcher cannot end a run that it did not start: it only sets the run's status. So when the run is
        being cancelled, e.g. in the UI, this interrupts the process, as Ctrl-C does.
        """
        import dagster as dg
        from dagster._core.execution.plan.objects import ErrorSource

        if self.run_id is None:
            runs = self.instance.get_runs(filters=dg.RunsFilter(tags={LAUNCH: self.launch}), limit=1)
            if not runs:
                return
            self.run_id = runs[0].run_id
        run = self.instance.get_run_by_id(self.run_id)
        ending = (dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED)
        if run is not None and run.status in ending and not self.cancelled:
            self.cancelled = True
            os.kill(os.getpid(), signal.SIGINT)
        kinds = {dg.DagsterEventType.ASSET_MATERIALIZATION, dg.DagsterEventType.STEP_FAILURE}
        for entry in self.instance.all_logs(self.run_id, of_type=kinds):
            event = entry.dagster_event
            if event is None:
                continue
            if event.is_step_failure and event.step_key is not None:
                interrupted = event.step_failure_data.error_source is ErrorSource.INTERRUPT
                self.finished[key_of_step(event.step_key)] = INTERRUPTED if interrupted else FAILED
            elif event.asset_key is not None and (key := "/".join(event.asset_key.path)) not in self.finished:
                metadata = event.step_materialization_data.materialization.metadata
                seconds = metadata["seconds"].value
                assert isinstance(seconds, int | float)
                self.finished[key] = CACHED if metadata["cached"].value else f"made in {duration(seconds)}"

    def mark_cancelled(self, run_id: str) -> None:
        """Show a run that Ctrl-C ended as cancelled and not as failed."""
        run = self.instance.get_run_by_id(run_id)
        if run is not None:
            self.instance.report_run_canceled(run, "interrupted; what was made is kept")

    def at_work(self) -> dict[str, AtWork]:
        """Asset key → what a stage does, or what it waits for."""
        if self.run_id is None:
            return {}
        waits = {key: AtWork(words, words) for key, words in queued(self.instance, self.run_id).items()}
        reports = read_progress(self.home.progress, self.run_id)
        return waits | {f"{self.campaign}/{each.stage}": AtWork(phase_of(each), in_words(each)) for each in reports}


def key_of_step(step_key: str) -> str:
    """The asset key of Dagster's name of a step."""
    return step_key.replace("__", "/")


def phase_of(report: StageProgress) -> str:
    """What a stage waits for, its generation, or the kind of its work."""
    return report.waits_for or report.within or report.what


def in_words(report: StageProgress) -> str:
    """`64/192 rollouts, 7.9/s, 16 s left`, or `192 rollouts` at the start; with the generation in front; or what the
    stage waits for."""
    if report.waits_for:
        return f"waiting for {report.waits_for}"
    kind = kind_of(report.what)
    one = report.what.replace(kind, kind.removesuffix("s"), 1)
    begins = f"{report.total} {one if report.total == 1 else report.what}"
    counted = f"{report.done}/{report.total} {report.what}" if report.done else begins
    if report.within:
        return f"{report.within}, {counted}"
    left = report.seconds_left
    return counted if left is None else f"{counted}, {report.rate:.1f}/s, {duration(left)} left"
