"""Where the command line writes: results to stdout, progress and errors to stderr."""

import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def line(markup: str) -> None:
    """Print a line to stdout; it is not wrapped."""
    out.print(markup, soft_wrap=True)


def note(message: str) -> None:
    """Print a line to stderr; markup in it is printed as text."""
    err.print(escape(message), soft_wrap=True)


def warn(message: str) -> None:
    """Print a warning to stderr; markup in it is printed as text."""
    err.print(f"[yellow]warning[/] {escape(message)}", soft_wrap=True)


def fail(message: str) -> None:
    """Print an error to stderr; markup in it is printed as text."""
    err.print(f"[bold red]error[/] {escape(message)}", soft_wrap=True)


def table(*heads: str, numbers: tuple[str, ...] = ()) -> Table:
    """A table without a frame; columns of `numbers` follow those of `heads` and are aligned to the right."""
    made = Table(*heads, box=None, header_style="bold")
    for head in numbers:
        made.add_column(head, justify="right")
    return made


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2))


@contextmanager
def progress_lines(to: IO[str] | None = None) -> Iterator[None]:
    """Show on stderr, or write to a file, what this package logs, e.g. the progress of a stage in this process."""
    log = logging.getLogger("rft_pipeline")
    handler, level = logging.StreamHandler(to), log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.setLevel(level)
        log.removeHandler(handler)


@contextmanager
def output_to(log: Path) -> Iterator[Console]:
    """Send what this process and its children print to a file; yield a console that still writes to the screen."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept_out, kept_err = os.dup(1), os.dup(2)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file, os.fdopen(os.dup(kept_err), "w", encoding="utf-8") as screen:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            yield Console(file=screen, highlight=False)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os.dup2(kept_out, 1)
            os.dup2(kept_err, 2)
            os.close(kept_out)
            os.close(kept_err)
