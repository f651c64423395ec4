"""The commands, and how an error becomes one message and an exit code."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from rft_pipeline.campaign import Campaign, load_campaign
from rft_pipeline.cli import console, show
from rft_pipeline.errors import ConfigError, RftError
from rft_pipeline.store import Home

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Reinforcement fine-tuning with LLM judges: versioned, cacheable stages on Dagster and MLflow.",
)

Name = Annotated[str, typer.Argument(help="A folder below data/ that holds campaign.yaml.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def main() -> None:
    """Run the command line; an `RftError` is printed without a traceback and ends with exit code 1."""
    try:
        app()
    except RftError as error:
        console.fail(str(error))
        sys.exit(1)


@app.command(epilog="Example: rft check support_reply")
def check(campaign: Name) -> None:
    """Validate a campaign's settings, rubric, prompts and anchors, without a model."""
    from rft_pipeline.check import check_campaign

    home = Home.find()
    show.checked(check_campaign(_folder(home, campaign), home.models))


@app.command(epilog="Example: rft plan support_reply --json")
def plan(campaign: Name, as_json: AsJson = False) -> None:
    """Tell what `rft run` would make and what it would skip, and why."""
    from rft_pipeline import plan as planning

    home = Home.find()
    steps = planning.plan(_load(home, campaign), home)
    if as_json:
        print(json.dumps(planning.as_json(steps), indent=2))
    else:
        show.planned(steps)


@app.command(epilog="Example: rft run support_reply --rounds 1")
def run(
    campaign: Name,
    rounds: Annotated[int | None, typer.Option(min=1, help="Stop after this round; all rounds when left out.")] = None,
) -> None:
    """Run a campaign's Dagster job; what is unchanged comes from the store."""
    from rft_pipeline.check import check_campaign
    from rft_pipeline.cli.launch import launch

    home = Home.find()
    check_campaign(_folder(home, campaign), home.models)
    loaded = _load(home, campaign)
    if rounds is not None and rounds > loaded.rounds:
        raise ConfigError(f"--rounds {rounds}: {campaign} has {loaded.rounds}; set `rounds` in its campaign.yaml")
    launch(home, loaded, rounds or loaded.rounds)
    show.rounds(home, loaded)


@app.command(epilog="Example: rft report support_reply --json")
def report(campaign: Name, as_json: AsJson = False) -> None:
    """Show the held-out reward of base and every round, and where the report page lies."""
    home = Home.find()
    loaded = _load(home, campaign)
    if as_json:
        print(json.dumps(show.report_summary(home, loaded), indent=2))
    else:
        show.rounds(home, loaded)


Stored = Annotated[str | None, typer.Argument(help="One campaign; all when left out.", show_default=False)]


@app.command(epilog="Example: rft verify support_reply --json")
def verify(campaign: Stored = None, as_json: AsJson = False) -> None:
    """Re-read every record and table and say what is missing or altered; exit code 1 when something is wrong."""
    from rft_pipeline.cli import show_upkeep
    from rft_pipeline.upkeep.verify import verify as verified

    found = verified(Home.find().store, campaign, show_upkeep.track)
    show_upkeep.verified(found, as_json=as_json)
    if not found.sound:
        raise typer.Exit(1)


@app.command(epilog="Example: rft gc support_reply --yes")
def gc(
    campaign: Stored = None,
    yes: Annotated[bool, typer.Option("--yes", help="Free it; without, nothing is changed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Free what no champion, no record in force and nothing in the store's keep.txt reaches.

    keep.txt names what else to keep: a record's address or the id of a Dagster or MLflow run a line.
    """
    from rft_pipeline.cli import show_upkeep
    from rft_pipeline.upkeep import gc as collecting

    home = Home.find()
    campaigns = [_load(home, name) for name in home.campaigns()]
    with console.err.status("gc"), collecting.garbage(home, campaigns, campaign, free=yes) as found:
        if yes:
            collecting.free(found)
    show_upkeep.garbage(home, found, freed=yes, as_json=as_json)


@app.command(epilog="Example: rft models HuggingFaceTB/SmolLM2-360M-Instruct")
def models(
    name: Annotated[
        str, typer.Argument(help="`embedded`, a hub id org/name or org/name@revision, a folder.")
    ] = "embedded",
) -> None:
    """Fetch a model (once) and say where it lies."""
    from rft_pipeline import models as fetching

    home = Home.find()
    show.model(fetching.resolve(name, home.models, Path.cwd()))


@app.command(epilog="Example: rft ui --dagster-port 3000 --mlflow-port 5000")
def ui(
    dagster_port: Annotated[int, typer.Option(help="Port of the Dagster UI.")] = 3000,
    mlflow_port: Annotated[int, typer.Option(help="Port of the MLflow UI.")] = 5000,
) -> None:
    """Serve the Dagster UI and the MLflow UI on this machine until interrupted."""
    from rft_pipeline.cli.ui import serve

    serve(Home.find(), dagster_port, mlflow_port)


def _folder(home: Home, campaign: str) -> Path:
    folder = home.data / campaign
    if not (folder / "campaign.yaml").is_file():
        there = ", ".join(home.campaigns()) or "none"
        raise ConfigError(f"no campaign {campaign!r}: {folder / 'campaign.yaml'} does not exist; there are: {there}")
    return folder


def _load(home: Home, campaign: str) -> Campaign:
    return load_campaign(_folder(home, campaign))
