"""`rft retrain`: start one retraining cycle by hand, as the schedule does."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from rft_pipeline.cli import console
from rft_pipeline.cli.options import AsJson, Name
from rft_pipeline.errors import Exit, RftError
from rft_pipeline.store import Home

if TYPE_CHECKING:
    from rft_pipeline.campaign.cycles import Cycle
    from rft_pipeline.pipeline.retraining import NextCycle


def retrain(
    campaign: Name,
    plan: Annotated[bool, typer.Option("--plan", help="Only show what would be drawn; write nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Draw prompts from new interaction logs and run the campaign on them from its champion.

    If the logs hold nothing new, an interrupted cycle is continued; if there is none, nothing runs, and the exit code
    is 4.
    """
    from rft_pipeline.campaign import load_campaign
    from rft_pipeline.campaign.cycles import load_current, newest
    from rft_pipeline.check import check_campaign
    from rft_pipeline.cli import launch, show
    from rft_pipeline.pipeline.retraining import begin, next_cycle

    home = Home.find()
    folder = home.campaign_folder(campaign)
    check_campaign(folder, home.models, home.store)
    loaded = load_campaign(folder)
    if plan:
        _show(next_cycle(loaded, home), None, as_json=as_json)
        return
    _refuse_while_running(home, campaign)
    found = begin(loaded, home)
    cycle = newest(home, campaign)
    _show(found, cycle, as_json=as_json)
    if cycle is None or (found.refusal is not None and cycle.finished):
        raise typer.Exit(Exit.NOTHING)
    running = load_current(home, campaign)
    launch.launch(home, running, tags=cycle.tags)
    summary = show.report_summary if as_json else show.rounds
    show.exit_if_stopped(summary(home, running))


def _refuse_while_running(home: Home, campaign: str) -> None:
    from rft_pipeline.runs import dagster_home, dead_runs

    instance = dagster_home.enter(home)
    dead_runs.mark_failed(instance)
    if dead_runs.is_running(instance, campaign):
        raise RftError(
            f"{campaign} has an unfinished run, whose prompts a new cycle would change; wait for the run or cancel it"
        )


def _show(found: "NextCycle", cycle: "Cycle | None", *, as_json: bool) -> None:
    if as_json:
        console.print_json(found.as_json() | {"folder": None if cycle is None else str(cycle.folder)})
        return
    drawn = found.drawn
    start = "the policy in campaign.yaml (there is no champion)" if found.policy is None else found.policy.address
    rows: list[tuple[str, Any]] = [
        ("starts from", start),
        ("rows in the logs", drawn.logged),
        ("opted out", drawn.opted_out),
        *([("without a usable prompt", len(found.unusable))] if found.unusable else []),
        ("new prompts", len(drawn.unseen)),
        ("similar to held-out prompts", drawn.like_held_out),
        ("drawn", f"{drawn.new} new, {drawn.old} old"),
        *((f"redacted: {kind}", count) for kind, count in drawn.redacted.items()),
        *([(f"opted out since cycle {found.number - 1}", found.withdrawn)] if found.withdrawn else []),
    ]
    table = console.table(f"cycle {found.number}", "")
    for name, value in rows:
        table.add_row(name, escape(str(value)))
    console.out.print(table)
    if found.refusal is not None:
        console.line(f"[yellow]no new cycle[/]: {escape(found.refusal)}")
    if cycle is not None:
        console.line(f"current cycle: {cycle.number}, {escape(str(cycle.folder))}")
