"""`rft run`: execute a campaign's Dagster job in this process and show its progress."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.markup import escape

from rft_pipeline.campaign import Audit, Campaign, load_campaign
from rft_pipeline.campaign.cycles import load_all, load_current
from rft_pipeline.cli.console import note, output_to, progress_lines, warn
from rft_pipeline.cli.watch import watching
from rft_pipeline.errors import RftError, RunInterruptedError
from rft_pipeline.pipeline import Pipeline
from rft_pipeline.pipeline.continuing import leave_edit_cycles, load_and_begin, standing
from rft_pipeline.pipeline.edit_plan import plan_edit
from rft_pipeline.pipeline.plan import Plan, plan
from rft_pipeline.pipeline.sources import source_hashes
from rft_pipeline.progress import duration
from rft_pipeline.runs import dagster_home, dead_runs
from rft_pipeline.runs.execute import execute, raise_on_failure
from rft_pipeline.runs.state import CACHED, RunState
from rft_pipeline.stages.base import OF_AUDIT
from rft_pipeline.stages.graph import nodes
from rft_pipeline.store import Home

if TYPE_CHECKING:
    from dagster import DagsterInstance

LOG = "rft_run.log"
"""The file in DAGSTER_HOME with what stages print."""


def launch(
    home: Home,
    campaign: Campaign,
    rounds: int | None = None,
    start: int | None = None,
    tags: Mapping[str, str] | None = None,
    only: Collection[str] = (),
) -> Campaign:
    """Run the campaign's job up to round `rounds` (all rounds without it), from round `start` or from where
    `on_rubric_change` lets it begin. `only`: just these stages, which belong to no round.

    After an edit that the campaign continues from, the reports of what stands are made first, in a run of their own,
    and then the edit cycle. Models are fetched first, so that a missing model fails before any stage runs. When every
    stage is cached, all of them run in this process, otherwise each in its own. Returns the campaign as it ran last.
    Raises `RunFailedError`, and `RunInterruptedError` after Ctrl-C or when Dagster's UI cancelled the run.
    """
    with _what_is_kept(home, campaign.name, rounds, audit=bool(only)):
        return _launch(home, campaign, rounds, start, tags, only)


@contextmanager
def _what_is_kept(home: Home, name: str, rounds: int | None, *, audit: bool) -> Iterator[None]:
    """Add to an interruption how many rollouts of the run are stored and how to go on."""
    try:
        yield
    except (KeyboardInterrupt, RunInterruptedError) as end:
        said = str(end) or "interrupted"
        if audit:
            raise RunInterruptedError(f"{said}; what was judged is kept; `rft audit {name}` goes on") from None
        current = load_current(home, name)
        last = current.rounds if rounds is None else rounds
        sampled = {node.key for node in nodes(current) if node.stage == "rollouts" and node.round <= last}
        rows = [step.rows for step in plan(current, home).steps if step.key in sampled]
        kept, total = sum(each.have for each in rows), sum(each.have + each.make for each in rows)
        again = f"rft run {name}" if rounds is None else f"rft run {name} --rounds {rounds}"
        raise RunInterruptedError(f"{said}; {kept} of {total} rollouts are kept; `{again}` goes on") from None


def audit_alone(home: Home, campaign: Campaign) -> None:
    """Make the audit of a campaign without an `audit` block in this process: its Dagster job has no such stages, and
    nothing reads their records."""
    audited = campaign.model_copy(update={"audit": Audit()})
    made = []
    with (
        _what_is_kept(home, campaign.name, None, audit=True),
        output_to(home.dagster / LOG) as screen,
        progress_lines(screen.file),
    ):
        for stage in OF_AUDIT:
            made.append(Pipeline(home).run(audited, stage))
            state = CACHED if made[-1].cached else f"made in {duration(made[-1].seconds)}"
            screen.print(escape(f"{made[-1].key}: {state}"), soft_wrap=True)
    _say_how_many(len(made), sum(each.cached for each in made))


def _say_how_many(stages: int, cached: int) -> None:
    note(f"{cached} of {stages} stages cached, {stages - cached} made")


def _launch(
    home: Home,
    campaign: Campaign,
    rounds: int | None,
    start: int | None,
    tags: Mapping[str, str] | None,
    only: Collection[str],
) -> Campaign:
    for name, found in load_all(home).items():
        if isinstance(found, RftError):
            warn(f"campaign {name} cannot be read, see `rft check {name}`: {str(found).splitlines()[0]}")
    source_hashes(campaign, home, fetch=True)
    instance = dagster_home.enter(home)
    for run_id in dead_runs.mark_failed(instance):
        note(f"run {run_id} was killed; this run continues from its finished stages")
    written = load_campaign(campaign.folder)
    if start is not None:
        campaign = leave_edit_cycles(written, home, start)
    elif not only:
        current = standing(written, home)
        if (edit := plan_edit(current, home)) is not None:
            note(edit.summary)
            if any(step.action == "run" for step in edit.reports.steps):
                _run(home, instance, campaign, edit.reports.keys, edit.reports, tags)
        campaign = current.campaign if current.is_begun else load_and_begin(home, campaign.name)
    planned = plan(campaign, home, start)
    last = campaign.rounds if rounds is None else rounds
    keys = [
        node.key
        for node in nodes(campaign)
        if node.round <= last and node.key in planned.keys and (not only or node.stage in only)
    ]
    for step in planned.steps:
        if not only and step.key not in planned.keys and step.reasons:
            note(f"{step.key}: {'; '.join(step.reasons)}")
    _run(home, instance, campaign, keys, planned, tags)
    return campaign


def _run(
    home: Home,
    instance: "DagsterInstance",
    campaign: Campaign,
    keys: Sequence[str],
    planned: Plan,
    tags: Mapping[str, str] | None,
) -> None:
    """Run these stages in one Dagster run."""
    run = RunState(home, instance, campaign.name, keys)
    all_cached = all(step.action == "skip" for step in planned.steps if step.key in keys)
    with output_to(home.dagster / LOG) as screen, watching(run, screen):
        result = execute(run, tags or {}, all_cached=all_cached)
    raise_on_failure(result, run)
    _say_how_many(len(keys), sum(state == CACHED for state in run.finished.values()))
