"""The command `rft`: the list of its commands, and how an error becomes a message and an exit code."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from rft_pipeline import __version__
from rft_pipeline.cli import (
    champion,
    console,
    labels,
    new,
    reading,
    retrain,
    rubric,
    running,
    status,
    store,
    ui,
    upkeep,
)
from rft_pipeline.errors import RftError, RunInterruptedError
from rft_pipeline.store.home import project


class _Commands(TyperGroup):
    """The commands. A value that an argument or option cannot have is refused in plain words."""

    def invoke(self, ctx: Any) -> Any:
        from pydantic import ValidationError

        from rft_pipeline.strict import in_words

        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            if isinstance(error.__cause__, ValidationError):
                error.message = in_words(error.__cause__.errors()[0])
            raise


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Reinforcement fine-tuning with LLM judges: versioned, cacheable stages on Dagster and MLflow.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        console.line(f"rft {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    if "RFT_DATA" not in os.environ and (above := project()) != Path.cwd():
        console.note(f"campaigns in {above / 'data'}")


COMMANDS: tuple[tuple[Callable[..., Any], str], ...] = (
    (new.new, "rft new my_campaign --like ticket_subject --prompts tickets.csv"),
    (running.check, "rft check support_reply"),
    (running.plan, "rft plan support_reply --rubric stricter.yaml"),
    (running.run, "rft run support_reply --rounds 1"),
    (status.status, "rft status"),
    (retrain.retrain, "rft retrain support_reply --plan"),
    (running.audit, "rft audit support_reply"),
    (reading.report, "rft report support_reply --json"),
    (champion.promote, "rft promote support_reply --round 1 --force --why 'our agents prefer its replies'"),
    (champion.rollback, "rft rollback support_reply --why 'replies are too long'"),
    (champion.export, "rft export support_reply ./support-reply-model"),
    (reading.diff, "rft diff support_reply --rubric data/support_reply/rubric.yaml new.yaml"),
    (reading.trace, "rft trace support_reply/round_2/checkpoints"),
    (upkeep.verify, "rft verify support_reply --json"),
    (upkeep.gc, "rft gc support_reply --yes"),
    (upkeep.models, "rft models HuggingFaceTB/SmolLM2-360M-Instruct"),
    (new.schema, "rft schema campaign"),
    (ui.ui, "rft ui --dagster-port 3000 --mlflow-port 5000"),
)
"""Each command and an example of it, in the order of `rft --help`."""

for command, example in COMMANDS:
    app.command(epilog=f"Example: {example}")(command)
app.add_typer(labels.app, name="labels")
app.add_typer(rubric.app, name="rubric")
app.add_typer(store.app, name="store")


def main() -> None:
    """Run the command line. An `RftError` is printed without a traceback; its class has the exit code."""
    try:
        app(prog_name="rft")
    except RunInterruptedError as end:
        console.note(str(end))
        sys.exit(end.exit_code)
    except RftError as error:
        console.fail(str(error))
        sys.exit(error.exit_code)
