"""`rft new` and `rft schema`."""

from pathlib import Path
from typing import Annotated

import typer

from rft_pipeline.cli import console
from rft_pipeline.cli.running import check
from rft_pipeline.errors import ConfigError
from rft_pipeline.store import Home


def _templates() -> list[str]:
    """For the completion of a shell."""
    from rft_pipeline.scaffold.templates import templates

    return templates(Home.find())


def new(
    name: Annotated[str, typer.Argument(help="The new campaign's name: small letters, digits, _.", show_default=False)],
    like: Annotated[
        str,
        typer.Option(help="The campaign to copy, e.g. ticket_subject.", show_default=False, autocompletion=_templates),
    ],
    prompts: Annotated[
        Path | None, typer.Option(help="A file with your prompts. Default: a few example rows.", dir_okay=False)
    ] = None,
    eval_: Annotated[
        Path | None, typer.Option("--eval", help="A file with eval prompts. Default: drawn from --prompts.")
    ] = None,
    eval_rows: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Draw so many eval prompts from --prompts. Default: a fifth, and if possible as many as a promotion "
            "needs.",
        ),
    ] = None,
    format_: Annotated[
        str | None, typer.Option("--format", help="The format of your files. Default: recognised.")
    ] = None,
    columns: Annotated[
        str, typer.Option(help="Columns of your files by our names, e.g. prompt=question,id=ticket.")
    ] = "",
) -> None:
    """Begin a campaign: copy another one's settings and rubric, put your prompts in, and check it."""
    from pydantic import ValidationError

    from rft_pipeline.campaign import load_campaign
    from rft_pipeline.scaffold.create import Wanted, create
    from rft_pipeline.strict import explain

    if eval_ is not None and prompts is None:
        raise ConfigError("--eval: needs --prompts, the file to train on")
    if eval_rows is not None and (eval_ is not None or prompts is None):
        raise ConfigError("--eval-rows: draws from --prompts; leave it out with --eval or without --prompts")
    mapped = dict(pair.partition("=")[::2] for pair in columns.split(",") if pair)
    home = Home.find()
    try:
        folder, notes = create(home, Wanted(name, like, prompts, eval_, eval_rows, format_, mapped))
    except ValidationError as error:
        raise ConfigError(explain(prompts or Path(like), error)) from error
    console.line(f"[bold]{folder}[/]")
    for note in notes:
        console.note(f"  {note}")
    check(name)
    rows = "" if prompts else "put your rows into prompts/, "
    first = " --rounds 1" if load_campaign(folder).rounds > 1 else ""
    console.note(
        f"next, in {folder}: {rows}say in campaign.yaml what the model is to do (policy.system) and in the rubric what "
        f"a good reply is; then `rft check {name}`, `rft plan {name}`, `rft run {name}{first}`"
    )


WHICH = (
    *("campaign", "rubric", "reference"),
    *("check", "status", "plan", "report", "trace", "diff", "verify", "gc"),
    *("labels_export", "labels_import", "labels_show", "models", "audit", "retrain", "rubric_suggest", "store_copy"),
)
"""What `rft schema` prints; named here, since the models of the commands take long to import."""


def schema(
    which: Annotated[
        str,
        typer.Argument(
            help="campaign, rubric, reference, or a command that has --json, e.g. plan or labels_show.",
            autocompletion=lambda: list(WHICH),
            show_default=False,
        ),
    ],
) -> None:
    """Print a JSON Schema: of campaign.yaml or rubric.yaml, for an editor, or of what a command prints with --json.

    `reference` prints a page with every key of both files, in Markdown.
    """
    from rft_pipeline.scaffold.reference import reference
    from rft_pipeline.scaffold.schema import schema as schema_of
    from rft_pipeline.strict import did_you_mean

    if which not in WHICH:
        raise ConfigError(f"no schema {which!r}{did_you_mean(which, WHICH)}; there are: {', '.join(WHICH)}")

    if which == "reference":
        print(reference(), end="")
    elif which == "campaign" or which == "rubric":
        console.print_json(schema_of("campaign" if which == "campaign" else "rubric"))
    else:
        from rft_pipeline.cli.outputs import output_schema

        console.print_json(output_schema(which))
