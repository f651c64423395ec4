"""The commands, and how an error becomes one message and an exit code."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from rft_pipeline.campaign import Campaign, load_campaign, load_rubric
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
From = Annotated[
    str | None,
    typer.Option("--from", help="Begin at `round_2`, say; earlier rounds stay. Else on_rubric_change decides."),
]
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


@app.command(epilog="Example: rft plan support_reply --rubric stricter.yaml")
def plan(
    campaign: Name,
    rubric: Annotated[Path | None, typer.Option(help="Plan as if this file were the rubric.")] = None,
    start: From = None,
    as_json: AsJson = False,
) -> None:
    """Tell what `rft run` would make and what it would skip, why, and about how long it takes."""
    from rft_pipeline import plan as planning

    home = Home.find()
    loaded = _load(home, campaign)
    if rubric is not None:
        loaded = loaded.model_copy(update={"rubric": load_rubric(rubric)})
    planned = planning.plan(loaded, home, _round(start))
    if as_json:
        print(json.dumps(planning.as_json(planned), indent=2))
    else:
        show.planned(planned)


@app.command(epilog="Example: rft run support_reply --rounds 1")
def run(
    campaign: Name,
    rounds: Annotated[int | None, typer.Option(min=1, help="Stop after this round; all rounds when left out.")] = None,
    start: From = None,
) -> None:
    """Run a campaign's Dagster job; what is unchanged comes from the store."""
    from rft_pipeline.check import check_campaign
    from rft_pipeline.cli.launch import launch

    home = Home.find()
    check_campaign(_folder(home, campaign), home.models)
    loaded = _load(home, campaign)
    if rounds is not None and rounds > loaded.rounds:
        raise ConfigError(f"--rounds {rounds}: {campaign} has {loaded.rounds}; set `rounds` in its campaign.yaml")
    launch(home, loaded, rounds or loaded.rounds, _round(start))
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


def _round(name: str | None) -> int | None:
    """`round_2` → 2."""
    if name is None:
        return None
    number = name.removeprefix("round_")
    if not number.isdecimal():
        raise ConfigError(f"--from {name}: must be round_1, round_2, …")
    return int(number)


def _load(home: Home, campaign: str) -> Campaign:
    return load_campaign(_folder(home, campaign))
