"""`rft status`."""

from typing import TYPE_CHECKING

import typer

from rft_pipeline.cli import console
from rft_pipeline.cli.options import AsJson, MaybeName
from rft_pipeline.errors import Exit
from rft_pipeline.store import Home

if TYPE_CHECKING:
    from dagster import DagsterInstance


def status(campaign: MaybeName = None, as_json: AsJson = False) -> None:
    """Show where each campaign stands: champion, last run, what is stale and why, next schedule, labels, pages."""
    from dataclasses import asdict

    from rft_pipeline.cli import show_status
    from rft_pipeline.cli.campaign_status import status_of

    home = Home.find()
    if campaign is not None:
        home.campaign_folder(campaign)
    instance = _instance(home)
    found = [status_of(home, name, instance) for name in ([campaign] if campaign else home.campaigns())]
    if as_json:
        console.print_json({"campaigns": [asdict(each) for each in found]})
    else:
        show_status.show(home, found)
    if any(each.errors for each in found):
        raise typer.Exit(Exit.BAD_INPUT)


def _instance(home: Home) -> "DagsterInstance | None":
    """None before the first run: nothing is written."""
    from rft_pipeline.runs import dagster_home

    return dagster_home.enter(home) if (home.dagster / "dagster.yaml").is_file() else None
