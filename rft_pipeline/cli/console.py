"""Where the command line writes: results to stdout, progress and errors to stderr."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape

out = Console()
err = Console(stderr=True)


def fail(message: str) -> None:
    """Print an error; its text is data, not markup."""
    err.print(f"[bold red]error[/] {escape(message)}", highlight=False, soft_wrap=True)


def warn(message: str) -> None:
    """Print a warning; its text is data, not markup."""
    err.print(f"[yellow]warning[/] {escape(message)}", highlight=False, soft_wrap=True)


@contextmanager
def progress_lines() -> Iterator[None]:
    """Show on stderr what this package logs, e.g. the progress of a stage that runs in this process."""
    log = logging.getLogger("rft_pipeline")
    handler, level = logging.StreamHandler(), log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.setLevel(level)
        log.removeHandler(handler)


@contextmanager
def output_to(log: Path) -> Iterator[Console]:
    """Send what this process and its children print to a file; yields a console that still reaches the screen."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept_out, kept_err = os.dup(1), os.dup(2)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file, os.fdopen(os.dup(kept_err), "w", encoding="utf-8") as screen:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            yield Console(file=screen)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os.dup2(kept_out, 1)
            os.dup2(kept_err, 2)
            os.close(kept_out)
            os.close(kept_err)
