"""`rft store`: copies a home to another place, e.g. a bucket."""

from dataclasses import asdict
from typing import Annotated

import typer

from rft_pipeline.cli import console
from rft_pipeline.cli.options import AsJson
from rft_pipeline.progress import counted

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown", help="Copy the state folder to another place.")

_PLACE = "A state folder, e.g. .rft, or s3://bucket/prefix, gs://bucket/prefix, az://container/prefix."


@app.callback()
def _store() -> None:
    pass


@app.command(epilog="Example: rft store copy .rft s3://our-bucket/rft")
def copy(
    source: Annotated[str, typer.Argument(metavar="FROM", help=_PLACE)],
    target: Annotated[str, typer.Argument(metavar="TO", help=_PLACE)],
    as_json: AsJson = False,
) -> None:
    """Copy all records, tables, champions, cycles and looks, and check every file by its sha256.

    A copy that was interrupted goes on with the same command. The credentials of a bucket are read from the
    environment, e.g. AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and AWS_ENDPOINT_URL.
    """
    from rich.filesize import decimal

    from rft_pipeline.cli import show_upkeep
    from rft_pipeline.upkeep.copying import copy as copy_home

    done = copy_home(source, target, show_upkeep.track)
    if as_json:
        console.print_json(asdict(done))
        return
    console.line(
        f"{counted(done.files, 'file')} copied, {decimal(done.bytes)}; {done.present} were there already. "
        f"The files of {counted(done.records, 'record')} have the sha256 of their record.json"
    )
