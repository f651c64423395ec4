"""Runs that are going on, and those whose process was killed.

Dagster still believes in the latter, and they hold the pool's slot for ever.
"""

import os
import socket
from collections.abc import Mapping
from multiprocessing import parent_process
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dagster import DagsterInstance, DagsterRun

PID = "rft/pid"
HOST = "rft/host"


def tags() -> dict[str, str]:
    """Who runs this: enough to find out later whether it still does."""
    return {PID: str(os.getpid()), HOST: socket.gethostname()}


def claim(instance: "DagsterInstance", run: "DagsterRun", about: Mapping[str, str]) -> None:
    """Leave word what a run is about, where it does not say so yet, and which process executes one that a daemon or the
    UI launched: the parent of a step's own process."""
    missing = {name: value for name, value in about.items() if name not in run.tags}
    if PID not in run.tags:
        parent = parent_process()
        pid = os.getpid() if parent is None else parent.pid
        missing |= {PID: str(pid), HOST: socket.gethostname()}
    if missing:
        instance.add_run_tags(run.run_id, missing)


def bury(instance: "DagsterInstance") -> list[str]:
    """Mark runs of killed processes of this machine as failed and free their slots; returns their ids."""
    import dagster as dg

    unfinished = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.CANCELING]
    buried = []
    for run in instance.get_runs(filters=dg.RunsFilter(statuses=unfinished, tags={HOST: socket.gethostname()})):
        if not _alive(int(run.tags[PID])):
            instance.report_run_failed(run, "its process was killed; what it finished is kept")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
            buried.append(run.run_id)
    return buried


def going_on(instance: "DagsterInstance", campaign: str) -> bool:
    """Whether a run of the campaign is unfinished: it may have read files before they were edited."""
    import dagster as dg
    from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES

    unfinished = dg.RunsFilter(statuses=list(NOT_FINISHED_STATUSES), tags={"rft/campaign": campaign})
    return instance.get_runs_count(unfinished) > 0


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
