"""`rft verify`, `rft gc` and `rft models`."""

from pathlib import Path
from typing import Annotated

import typer

from rft_pipeline.cli import console
from rft_pipeline.cli.options import AsJson, MaybeName, load
from rft_pipeline.errors import Exit
from rft_pipeline.store import Home
from rft_pipeline.store.shared import refuse_shared


def verify(campaign: MaybeName = None, as_json: AsJson = False) -> None:
    """Re-read every record and table and report what is missing or altered. Exit code 1 if there are errors."""
    from rft_pipeline.cli import show_upkeep
    from rft_pipeline.upkeep.verify import verify as verify_store

    found = verify_store(Home.find().store, campaign, show_upkeep.track)
    show_upkeep.verified(found, as_json=as_json)
    if not found.sound:
        raise typer.Exit(Exit.FAILED)


def gc(
    campaign: MaybeName = None,
    yes: Annotated[bool, typer.Option("--yes", help="Delete; without it, only show what would be deleted.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete what no champion, no current record and no entry of keep.txt needs.

    keep.txt in the store lists more to keep, one entry a line: a record's address, or the id of a Dagster or MLflow
    run.
    """
    from rft_pipeline.cli import show_upkeep
    from rft_pipeline.upkeep import gc as collecting

    home = Home.find()
    refuse_shared(home.root, "rft gc", "copy it to a folder with `rft store copy`, and run `rft gc` there")
    campaigns = [load(home, name) for name in home.campaigns()]
    with console.err.status("gc"), collecting.garbage(home, campaigns, campaign, free=yes) as found:
        if yes:
            collecting.free(found)
    show_upkeep.garbage(home, found, deleted=yes, as_json=as_json)


def models(
    name: Annotated[
        str, typer.Argument(help="`embedded`, a hub id (org/name or org/name@revision), or a folder.")
    ] = "embedded",
    as_json: AsJson = False,
) -> None:
    """Fetch a model, unless it is there already, and show its folder."""
    from rft_pipeline.models import resolve

    found = resolve(name, Home.find().models, Path.cwd())
    if as_json:
        console.print_json({name: str(getattr(found, name)) for name in ("name", "folder", "source", "content_hash")})
        return
    console.line(f"{found.name}: {found.folder}")
    console.line(f"  from {found.source}, content {found.content_hash}")
