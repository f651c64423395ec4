"""Where the command line writes: results to stdout, progress and errors to stderr."""

import json
import logging
import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def line(markup: str) -> None:
    """Print a line to stdout."""
    _whole(out, markup)


def note(message: str) -> None:
    """Print a line to stderr; markup in it is printed as text."""
    _whole(err, escape(message))


def warn(message: str) -> None:
    """Print a warning to stderr; markup in it is printed as text."""
    _whole(err, f"[yellow]warning[/] {escape(message)}")


def fail(message: str) -> None:
    """Print an error to stderr; markup in it is printed as text."""
    _whole(err, f"[bold red]error[/] {escape(message)}")


def _whole(to: Console, markup: str) -> None:
    """Print all of a line. A terminal gets it in lines of its width, which end between words, so that paths stay whole;
    a file gets one line."""
    if not to.is_terminal:
        to.print(markup, soft_wrap=True)
        return
    for each in Text.from_markup(markup).split("\n", allow_blank=True):
        to.print(Text("\n").join(_between_words(each, to.width)), soft_wrap=True)


def _between_words(text: Text, width: int) -> Iterable[Text]:
    """The text in lines of this width; a longer word has a line of its own."""
    breaks, column = [], 0
    for found in re.finditer(r"(\s*)(\S+)", text.plain):
        if column and column + cell_len(found[0]) > width:
            breaks.append(found.start(2))
            column = 0
        column += cell_len(found[0] if column or not breaks else found[2])
    for part in text.divide(breaks):
        part.rstrip()
        yield part


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
