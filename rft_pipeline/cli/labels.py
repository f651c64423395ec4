"""`rft labels`: export rollouts for people to label, and import their labels."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from rft_pipeline.cli.options import AsJson, Name
from rft_pipeline.store import Home

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Have people label rollouts: export a file, fill it in, import it.",
)


@app.command(epilog="Example: rft labels export support_reply --n 60")
def export(
    campaign: Name,
    n: Annotated[int, typer.Option("--n", min=1, help="How many rollouts to draw.")] = 60,
    out: Annotated[Path, typer.Option(help="Folder for the file.")] = Path("."),
    file_format: Annotated[Literal["csv", "jsonl"], typer.Option("--format", help="csv is for spreadsheets.")] = "csv",
    held_out: Annotated[
        bool, typer.Option("--held-out", help="Draw held-out replies that the promotion compares.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Draw rollouts for people to label: 50 % at random, 30 % where judges are unsure, 20 % with the highest rewards.

    With --held-out, draw held-out prompts at random, with the replies of every policy that the promotion compares.
    Their labels correct the judges in the promotion. The same command draws the same rollouts until labels of them are
    imported.
    """
    from rft_pipeline.campaign import load_campaign
    from rft_pipeline.cli import show_labels
    from rft_pipeline.labels.exports import draw_export
    from rft_pipeline.labels.files import write_export
    from rft_pipeline.labels.held_out import draw_held_out

    home, draw = Home.find(), draw_held_out if held_out else draw_export
    drawn = draw(load_campaign(home.campaign_folder(campaign)), home, n)
    path = write_export(drawn, home.store, out, file_format)
    show_labels.exported(drawn, path, as_json=as_json)


@app.command("import", epilog="Example: rft labels import support_reply labels_support_reply_0123456789abcdef.csv")
def import_(
    campaign: Name,
    file: Annotated[Path, typer.Argument(help="A filled-in export, CSV or JSON Lines.", show_default=False)],
    skip_wrong: Annotated[bool, typer.Option("--skip-wrong", help="Import only the valid rows.")] = False,
    as_json: AsJson = False,
) -> None:
    """Import labels: all rows, or none if a row is wrong. Importing a file twice adds nothing."""
    from rft_pipeline.campaign import load_campaign
    from rft_pipeline.cli import show_labels
    from rft_pipeline.labels.estimates import estimates
    from rft_pipeline.labels.held_out import prompts_labelled
    from rft_pipeline.labels.importing import import_labels
    from rft_pipeline.labels.table import why_left_out

    home = Home.find()
    loaded = load_campaign(home.campaign_folder(campaign))
    done = import_labels(loaded, home.store, file, skip_wrong=skip_wrong)
    show_labels.imported(done, estimates(loaded, home), why_left_out(loaded, home.store), as_json=as_json)
    if not as_json:
        show_labels.held_out(loaded, prompts_labelled(loaded, home))
