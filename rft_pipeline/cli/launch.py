"""`rft run`: execute a campaign's Dagster job in this process and show its progress."""

from collections.abc import Mapping

from rft_pipeline.campaign import Campaign
from rft_pipeline.campaign.cycles import load_all
from rft_pipeline.cli.console import note, output_to, warn
from rft_pipeline.cli.watch import watching
from rft_pipeline.errors import RftError
from rft_pipeline.pipeline.plan import plan
from rft_pipeline.pipeline.sources import source_hashes
from rft_pipeline.runs import dagster_home, dead_runs
from rft_pipeline.runs.execute import execute, raise_on_failure
from rft_pipeline.runs.state import CACHED, RunState
from rft_pipeline.stages.graph import nodes
from rft_pipeline.store import Home


def launch(
    home: Home, campaign: Campaign, rounds: int, start: int | None = None, tags: Mapping[str, str] | None = None
) -> None:
    """Run the campaign's job up to round `rounds`, from round `start` or from where `on_rubric_change` lets it begin.

    Models are fetched first, so that a missing model fails before any stage runs. When every stage is cached, all of
    them run in this process, otherwise each in its own. Raises `RunFailedError`.
    """
    for name, found in load_all(home).items():
        if isinstance(found, RftError):
            warn(f"campaign {name} cannot be read, see `rft check {name}`: {str(found).splitlines()[0]}")
    source_hashes(campaign, home, fetch=True)
    planned = plan(campaign, home, start)
    wanted = [node for node in nodes(campaign) if node.round == 0 or planned.first_round <= node.round <= rounds]
    keys = [node.key for node in wanted]
    for step in planned.steps:
        if step.key not in keys and step.reasons:
            note(f"{step.key}: {'; '.join(step.reasons)}")
    instance = dagster_home.enter(home)
    for run_id in dead_runs.mark_failed(instance):
        note(f"run {run_id} was killed; this run continues from its finished stages")
    run = RunState(home, instance, campaign.name, keys)
    all_cached = all(step.action == "skip" for step in planned.steps if step.key in keys)
    with output_to(home.dagster / "rft_run.log") as screen, watching(run, screen):
        result = execute(run, tags or {}, all_cached=all_cached)
    raise_on_failure(result, run)
    cached = sum(state == CACHED for state in run.finished.values())
    note(f"{cached} of {len(keys)} stages cached, {len(run.finished) - cached} made")
