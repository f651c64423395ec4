"""Unfinished runs, and those among them whose process died: Dagster does not notice, and they keep the pool's slot."""

import os
import socket
from collections.abc import Mapping
from multiprocessing import parent_process
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dagster import DagsterInstance, DagsterRun

PID = ".dagster/rft_pid"
HOST = ".dagster/rft_host"


def process_tags(pid: int | None = None) -> dict[str, str]:
    """Tags that say which process executes a run: this one, unless `pid` is given."""
    return {PID: str(pid or os.getpid()), HOST: socket.gethostname()}


def tag_run(instance: "DagsterInstance", run: "DagsterRun", tags: Mapping[str, str]) -> None:
    """Add the tags that a run lacks. Called by a step.

    A run that the daemon or the UI launched has no tags of its process yet; that is the parent of the step's process.
    """
    missing = {name: value for name, value in tags.items() if name not in run.tags}
    if PID not in run.tags:
        parent = parent_process()
        missing |= process_tags(None if parent is None else parent.pid)
    if missing:
        instance.add_run_tags(run.run_id, missing)


def mark_failed(instance: "DagsterInstance") -> list[str]:
    """Mark this machine's runs whose process died as failed, and free the slots of dead runs, which a failed
    run keeps for a step that did not begin. Returns the ids of those that were not marked before."""
    import dagster as dg

    unfinished = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.CANCELING]
    dead = [
        run
        for run in instance.get_runs(filters=dg.RunsFilter(statuses=unfinished, tags={HOST: socket.gethostname()}))
        if is_dead(run)
    ]
    for run in dead:
        instance.report_run_failed(run, "its process was killed; finished stages are kept")
    storage = instance.event_log_storage
    for run_id in storage.get_concurrency_run_ids():
        holder = instance.get_run_by_id(run_id)
        if holder is None or (holder.is_finished and is_dead(holder)):
            storage.free_concurrency_slots_for_run(run_id)
    return [run.run_id for run in dead]


def is_running(instance: "DagsterInstance", campaign: str) -> bool:
    """Whether the campaign has an unfinished run, which may have read files before they were edited."""
    import dagster as dg
    from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES

    unfinished = dg.RunsFilter(statuses=list(NOT_FINISHED_STATUSES), tags={"rft/campaign": campaign})
    return instance.get_runs_count(unfinished) > 0


def is_dead(run: "DagsterRun") -> bool:
    """Whether the process that executes an unfinished run is gone; false for a run of another machine."""
    return run.tags.get(HOST) == socket.gethostname() and not _is_alive(int(run.tags[PID]))


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it belongs to another user
        return True
    return True
