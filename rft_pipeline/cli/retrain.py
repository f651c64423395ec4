"""`rft retrain`: one cycle by hand, as the schedule would run it."""

import json
from typing import Any

from rich.markup import escape
from rich.table import Table

from rft_pipeline.campaign import load_campaign
from rft_pipeline.campaign.cycles import Cycle, load_in_force, newest
from rft_pipeline.cli import show
from rft_pipeline.cli.console import out
from rft_pipeline.errors import ConfigError
from rft_pipeline.pipeline.retraining import Look, begin, look
from rft_pipeline.store import Home


def retrained(home: Home, campaign: str, *, plan: bool, as_json: bool) -> None:
    """Begin the next cycle, or go on with the newest where nothing is new, and run it. Raises `RftError`."""
    from rft_pipeline.check import check_campaign
    from rft_pipeline.cli.launch import launch

    folder = home.campaign_folder(campaign)
    check_campaign(folder, home.models, home.store)
    loaded = load_campaign(folder)
    if plan:
        _show(look(loaded, home), None, as_json=as_json)
        return
    _refuse_while_running(home, campaign)
    found = begin(loaded, home)
    cycle = newest(home, campaign)
    _show(found, cycle, as_json=as_json)
    if cycle is None:
        return
    running = load_in_force(home, campaign)
    if found.waits is None or not cycle.finished:
        launch(home, running, running.rounds, tags=cycle.tags)
        if not as_json:
            show.rounds(home, running)


def _refuse_while_running(home: Home, campaign: str) -> None:
    from rft_pipeline.runs import dagster_home, dead_runs

    instance = dagster_home.enter(home)
    dead_runs.mark_failed(instance)
    if dead_runs.is_running(instance, campaign):
        raise ConfigError(
            f"a run of {campaign} is going on and would change its prompts midway; wait for it, or cancel it"
        )


def _show(found: Look, cycle: Cycle | None, *, as_json: bool) -> None:
    if as_json:
        plain = found.as_json() | ({} if cycle is None else {"folder": str(cycle.folder)})
        print(json.dumps(plain, indent=2))
        return
    start = "campaign.yaml's policy: there is no champion" if found.policy is None else found.policy.address
    rows: list[tuple[str, Any]] = [
        ("starts from", start),
        ("rows in the logs", found.drawn.logged),
        ("opted out", found.drawn.opted_out),
        *([("without a prompt that can be used", len(found.unusable))] if found.unusable else []),
        ("new prompts", len(found.drawn.unseen)),
        ("like held-out prompts", found.drawn.like_held_out),
        ("drawn", f"{found.drawn.new} new, {found.drawn.old} old"),
        *((f"redacted: {kind}", count) for kind, count in found.drawn.redacted.items()),
        *([(f"opted out since cycle {found.number - 1}", found.withdrawn)] if found.withdrawn else []),
    ]
    table = Table(f"cycle {found.number}", "", box=None, header_style="bold", show_header=True)
    for name, value in rows:
        table.add_row(name, escape(str(value)))
    out.print(table)
    if found.waits is not None:
        out.print(f"[yellow]no cycle begins[/]: {escape(found.waits)}", highlight=False, soft_wrap=True)
    if cycle is not None:
        out.print(f"cycle {cycle.number} is in force: {escape(str(cycle.folder))}", highlight=False, soft_wrap=True)
