"""The last run of a campaign, as Dagster knows it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from rft_pipeline.progress import read_progress
from rft_pipeline.runs.dead_runs import is_dead
from rft_pipeline.runs.execute import failures
from rft_pipeline.runs.queue import queued
from rft_pipeline.runs.state import in_words
from rft_pipeline.stages.base import OF_AUDIT
from rft_pipeline.store import Home

if TYPE_CHECKING:
    from dagster import DagsterInstance, DagsterRun


@dataclass(frozen=True)
class LastRun:
    """The newest run of a campaign."""

    run_id: str
    """Of Dagster."""
    what: Literal["run", "audit"]
    """`audit`: the run of `rft audit`, which makes no round."""
    verdict: Literal["queued", "running", "finished", "failed", "interrupted", "killed"]
    began: str | None
    """ISO 8601, UTC."""
    ended: str | None
    """ISO 8601, UTC; null while it runs."""
    doing: dict[str, str]
    """Of a run in progress: asset key → progress in words."""
    why: str | None
    """Of a failed run: the first error of each failed stage."""


def last_run(instance: "DagsterInstance", home: Home, campaign: str) -> LastRun | None:
    """None before the first run."""
    import dagster as dg

    records = instance.get_run_records(filters=dg.RunsFilter(tags={"rft/campaign": campaign}), limit=1)
    if not records:
        return None
    (record,) = records
    run, verdict = record.dagster_run, _verdict(record.dagster_run)
    doing, why = {}, None
    if verdict in ("queued", "running"):
        reports = read_progress(home.progress, run.run_id)
        doing = queued(instance, run.run_id) | {f"{campaign}/{report.stage}": in_words(report) for report in reports}
    if verdict == "failed":
        why = "\n".join(_why(instance, run.run_id))
    return LastRun(run.run_id, _what(run), verdict, _iso(record.start_time), _iso(record.end_time), doing, why)


def _what(run: "DagsterRun") -> Literal["run", "audit"]:
    return "audit" if {key.path[-1] for key in run.asset_selection or ()} == {*OF_AUDIT} else "run"


def _verdict(run: "DagsterRun") -> Literal["queued", "running", "finished", "failed", "interrupted", "killed"]:
    match run.status.value:
        case "SUCCESS":
            return "finished"
        case "FAILURE":
            return "failed"
        case "CANCELING" | "CANCELED":
            return "interrupted"
        case "STARTED" | "STARTING":
            return "killed" if is_dead(run) else "running"
        case _:
            return "queued"


def _why(instance: "DagsterInstance", run_id: str) -> Iterable[str]:
    import dagster as dg

    kinds = {
        dg.DagsterEventType.STEP_FAILURE,
        dg.DagsterEventType.ASSET_CHECK_EVALUATION,
        dg.DagsterEventType.RUN_FAILURE,
    }
    events = [entry.dagster_event for entry in instance.all_logs(run_id, of_type=kinds)]
    found = [event for event in events if event is not None]
    return failures(found) or _ends(event.message for event in found if event.is_run_failure)


def _ends(messages: Iterable[str | None]) -> Iterator[str]:
    yield from (message for message in messages if message)


def _iso(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
