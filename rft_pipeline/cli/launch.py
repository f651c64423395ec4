"""`rft run`: executes a campaign's Dagster job in this process and shows how far it is."""

import re
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.markup import escape

from rft_pipeline.campaign import Campaign
from rft_pipeline.campaign.cycles import load_all
from rft_pipeline.cli.console import err, output_to, warn
from rft_pipeline.cli.watch import CACHED, Watch
from rft_pipeline.errors import RftError
from rft_pipeline.full_disk import message, saying_so, says_so
from rft_pipeline.pipeline.plan import plan
from rft_pipeline.pipeline.sources import source_hashes
from rft_pipeline.runs import dagster_home, dead_runs
from rft_pipeline.stages.graph import nodes
from rft_pipeline.store import Home

_OURS = re.compile(r"^rft_pipeline\.errors\.\w+: ")

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class RunFailedError(RftError):
    """A Dagster run that ended without success; the message holds the failing stage's own."""


def launch(
    home: Home, campaign: Campaign, rounds: int, start: int | None = None, tags: Mapping[str, str] | None = None
) -> None:
    """Run the campaign's job up to round `rounds`, from round `start` or from where `on_rubric_change` lets it begin.

    Models are fetched first, so that a missing one stops everything before it begins. When the plan has nothing to
    make, the stages are confirmed in this process; otherwise each runs in its own. Raises `RunFailedError`.
    """
    for name, found in load_all(home).items():
        if isinstance(found, RftError):
            warn(f"campaign {name} cannot be read, see `rft check {name}`: {str(found).splitlines()[0]}")
    source_hashes(campaign, home, fetch=True)
    planned = plan(campaign, home, start)
    wanted = [node for node in nodes(campaign) if node.round == 0 or planned.first_round <= node.round <= rounds]
    keys = [node.key for node in wanted]
    nothing_to_make = all(step.action == "skip" for step in planned.steps if step.key in keys)
    for step in planned.steps:
        if step.key not in keys and step.reasons:
            err.print(escape(f"{step.key}: {'; '.join(step.reasons)}"), highlight=False)
    with saying_so(campaign.name, home.root):
        instance = dagster_home.enter(home)

        import dagster as dg

        for run_id in dead_runs.bury(instance):
            err.print(f"run {run_id} was killed; going on from what it finished", highlight=False)
        tag = uuid.uuid4().hex
        with output_to(home.dagster / "rft_run.log") as screen, Watch(home, instance, tag, keys, screen) as watch:
            result = dg.execute_job(
                dg.build_reconstructable_job(
                    "assets.definitions",
                    "job",
                    reconstructable_args=(campaign.name,),
                    reconstructor_working_directory=str(dagster_home.project_root()),
                ),
                instance=instance,
                run_config=_run_config(each_a_process=not nothing_to_make),
                asset_selection=[dg.AssetKey(node.key.split("/")) for node in wanted],
                tags={"rft/launch": tag, "rft/campaign": campaign.name, **dead_runs.tags(), **(tags or {})},
            )
    if not result.success and watch.cancelled:
        raise RunFailedError(
            f"run {result.run_id} was cancelled; what was finished is kept, `rft run` goes on from there"
        )
    if not result.success:
        raise RunFailedError(_why(result, home.root))
    cached = sum(state == CACHED for state in watch.done.values())
    err.print(f"{cached} of {len(keys)} stages cached, {len(watch.done) - cached} made", highlight=False)


def _run_config(*, each_a_process: bool) -> dict[str, Any]:
    from importlib import import_module

    jobs = import_module("assets.jobs")
    return {**(jobs.EACH_STEP_A_PROCESS if each_a_process else jobs.ALL_IN_ONE_PROCESS), **QUIET}


def _why(result: Any, root: Path) -> str:
    """The message of each failed step: ours as it was written, that of its failed checks, or Dagster's."""
    lines = []
    for event in result.get_step_failure_events():
        error = event.event_specific_data.error
        while error.cause is not None and error.cls_name == "DagsterExecutionStepExecutionError":
            error = error.cause
        key = event.step_key.replace("__", "/")
        if says_so(error.message, root):
            lines.append(message(key, root))
            continue
        found = _failed_checks(result, event.step_key) or [_OURS.sub("", error.message.strip())]
        lines += [said if said.startswith(f"{key}: ") else f"{key}: {said}" for said in found]
    lines.append(f"Dagster run {result.run_id} failed; what was finished is kept, `rft run` goes on from there.")
    return "\n".join(lines)


def _failed_checks(result: Any, step_key: str) -> list[str]:
    """What the checks said that stopped a step."""
    evaluations = [
        event.event_specific_data
        for event in result.filter_events(lambda event: event.event_type_value == "ASSET_CHECK_EVALUATION")
        if event.step_key == step_key
    ]
    return [
        f"check {each.check_name}: {each.description}"
        for each in evaluations
        if not each.passed and each.severity.value == "ERROR"
    ]
