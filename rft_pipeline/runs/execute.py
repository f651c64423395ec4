"""Execute a campaign's Dagster job in this process, and word the errors of a run that failed."""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from rft_pipeline.errors import RftError, RunInterruptedError
from rft_pipeline.runs import code_location
from rft_pipeline.runs.dead_runs import process_tags
from rft_pipeline.runs.state import LAUNCH, RunState, key_of_step

if TYPE_CHECKING:
    from dagster import DagsterEvent, ExecuteJobResult

PRELOADED = ["rft_pipeline.runs.step_server", "dagster._core.executor.multiprocess"]
"""Dagster puts the second in front of a list that lacks it."""

EACH_STEP_A_PROCESS: dict[str, Any] = {
    "execution": {
        "config": {
            "multiprocess": {"max_concurrent": 2, "start_method": {"forkserver": {"preload_modules": PRELOADED}}}
        }
    }
}
ALL_IN_ONE_PROCESS: dict[str, Any] = {"execution": {"config": {"in_process": {}}}}
"""For a run whose stages are all cached: no step loads a model."""

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}

_OUR_ERROR = re.compile(r"^rft_pipeline\.errors\.\w+: ")


class RunFailedError(RftError):
    """A Dagster run that failed; the message holds the errors of its steps."""


def execute(run: RunState, tags: Mapping[str, str], *, all_cached: bool) -> "ExecuteJobResult":
    """Run the campaign's job in this process: each step in its own process, or in this one when all are cached."""
    import dagster as dg

    module, folder = code_location.find(run.home)
    # `execute_job` has no argument for the origin of the run that it creates
    created = partial(run.instance.create_run_for_job, remote_job_origin=code_location.origin(run.campaign))
    setattr(run.instance, "create_run_for_job", created)  # noqa: B010 (mypy refuses the assignment)
    return dg.execute_job(
        dg.build_reconstructable_job(
            module, "job", reconstructable_args=(run.campaign,), reconstructor_working_directory=str(folder)
        ),
        instance=run.instance,
        run_config={**(ALL_IN_ONE_PROCESS if all_cached else EACH_STEP_A_PROCESS), **QUIET},
        asset_selection=[dg.AssetKey(key.split("/")) for key in run.keys],
        tags={LAUNCH: run.launch, "rft/campaign": run.campaign, **process_tags(), **tags},
    )


def raise_on_failure(result: "ExecuteJobResult", run: RunState) -> None:
    """Raise `RunInterruptedError` for a run that was cancelled or interrupted, `RunFailedError` for one that failed.

    The message holds a failed step's own error when it is one of this package, else its failed checks or Dagster's
    error.
    """
    if result.success:
        return
    if run.cancelled:
        raise RunInterruptedError(f"run {result.run_id} was cancelled")
    if _was_interrupted(result):
        run.mark_cancelled(result.run_id)
        raise RunInterruptedError("interrupted")
    lines = failures(result.all_events)
    lines.append(f"Dagster run {result.run_id} failed; finished stages are kept, and `rft run` continues from there.")
    raise RunFailedError("\n".join(lines))


def failures(events: Sequence["DagsterEvent"]) -> list[str]:
    """The errors of a run's failed steps, each `asset key: message`; if no step failed, that of the run."""
    lines = []
    for event in events:
        if not event.is_step_failure:
            continue
        assert event.step_key is not None
        key = key_of_step(event.step_key)
        error = event.step_failure_data.error
        while error is not None and error.cause is not None and error.cls_name == "DagsterExecutionStepExecutionError":
            error = error.cause
        text = "" if error is None else error.message.strip()
        errors = _failed_checks(events, event.step_key) or [_OUR_ERROR.sub("", text)]
        lines += [each if each.startswith(f"{key}: ") else f"{key}: {each}" for each in errors]
    return lines or [
        error.message.partition("\nStack Trace")[0].strip()
        for event in events
        if event.is_run_failure and (error := event.job_failure_data.error) is not None
    ]


def _was_interrupted(result: "ExecuteJobResult") -> bool:
    """Whether Ctrl-C or a signal ended the run: Dagster then counts it as failed, without a request to cancel it."""
    from dagster._core.events import JobFailureData, RunFailureReason

    ends = (event.event_specific_data for event in result.filter_events(lambda event: event.is_run_failure))
    unexpected = RunFailureReason.UNEXPECTED_TERMINATION
    return any(isinstance(end, JobFailureData) and end.failure_reason == unexpected for end in ends)


def _failed_checks(events: Sequence["DagsterEvent"], step_key: str) -> list[str]:
    """The blocking checks that a step failed."""
    evaluations = [
        event.asset_check_evaluation_data
        for event in events
        if event.event_type_value == "ASSET_CHECK_EVALUATION" and event.step_key == step_key
    ]
    return [
        f"check {each.check_name}: {each.description}"
        for each in evaluations
        if not each.passed and each.severity.value == "ERROR"
    ]
