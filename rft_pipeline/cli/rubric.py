"""`rft rubric`: suggest another wording of a criterion."""

from pathlib import Path
from typing import Annotated

import typer

from rft_pipeline.cli import console
from rft_pipeline.cli.options import AsJson, Name
from rft_pipeline.errors import Exit
from rft_pipeline.store import Home

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Suggest a better wording of a criterion, where people and its judge disagree.",
)


@app.callback()
def _rubric() -> None:
    pass


@app.command(epilog="Example: rft rubric suggest support_reply --criterion polite")
def suggest(
    campaign: Name,
    criterion: Annotated[str, typer.Option(help="The criterion whose wording is suggested.", show_default=False)],
    candidates: Annotated[
        Path | None, typer.Option(help="A YAML file with judges to try, by criterion, as a rubric has them.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Who writes texts: a judge of campaign.yaml, served:NAME, embedded, a hub id or a folder."),
    ] = None,
    server: Annotated[
        str | None, typer.Option(metavar="URL", help="With --model served:NAME: its server, up to /v1.")
    ] = None,
    api_key_env: Annotated[
        str | None, typer.Option(metavar="NAME", help="With --server: the environment variable with its key.")
    ] = None,
    n: Annotated[int, typer.Option("--n", min=1, max=64, help="With --model: how many texts it writes.")] = 8,
    as_json: AsJson = False,
) -> None:
    """Try other wordings of a criterion on half of its labels, and compare the best with the present one on the others.

    If it is better there, the rubric with it is written next to the rubric, as rubric.suggested.yaml; nothing else
    changes. The exit code is 3 if it is not better, or if there are too few labels.
    """
    from rft_pipeline.campaign import load_campaign
    from rft_pipeline.cli import show_suggestion
    from rft_pipeline.suggest.candidates import read_candidates
    from rft_pipeline.suggest.suggestion import suggest as make_suggestion
    from rft_pipeline.suggest.trial import writer_of

    if model is None and (server is not None or api_key_env is not None):
        raise typer.BadParameter("--server and --api-key-env need --model served:NAME")
    home = Home.find()
    loaded = load_campaign(home.campaign_folder(campaign))
    given = [] if candidates is None else read_candidates(candidates, loaded).get(criterion, [])
    writer = None if model is None else writer_of(loaded, model, server, api_key_env)
    with console.progress_lines():
        found = make_suggestion(loaded, home, criterion, given, writer, n)
    if as_json:
        console.print_json(show_suggestion.as_plain(loaded, found))
    else:
        show_suggestion.suggested(loaded, found)
    if found.file is None:
        raise typer.Exit(Exit.REFUSED)
