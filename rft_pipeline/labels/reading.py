"""Reads files that people filled in: rows with their places, and cells by the names of their columns."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rft_pipeline.errors import DataError
from rft_pipeline.labels.cells import restored
from rft_pipeline.prompts.rows import csv_rows, jsonl_rows, refuse

_OWN_COLUMNS = ("rollout_id", "pair_id", "annotator", "note", "export")
"""Columns of exported files: the headings of the others hold commas and semicolons."""
_CSV, _JSONL = (".csv", ".tsv", ".txt"), (".jsonl", ".ndjson")
_HEADING = re.compile(r"'?([a-z][a-z0-9_]*)(\s.*)?", re.DOTALL)

PlacedRow = tuple[str, dict[str, Any]]
"""A row's place in the file, and its cells by column."""


def is_csv(path: Path) -> bool:
    """Whether a file is CSV; otherwise it is JSON Lines. Raises `DataError` for other file types."""
    suffix = path.suffix.lower()
    if suffix not in (*_CSV, *_JSONL):
        raise DataError(f"{path}: allowed file types: {', '.join((*_CSV, *_JSONL))}; save a spreadsheet as CSV UTF-8")
    return suffix in _CSV


def read_rows(path: Path, wrong: list[str], needed: Sequence[str]) -> list[PlacedRow]:
    """The rows of a CSV or JSON Lines file; problems of rows are appended to `wrong`.

    A CSV must have the columns `needed`. Raises `DataError` for a file that cannot be read.
    """
    if not is_csv(path):
        return [(row.place, row.values) for row in jsonl_rows(path, wrong)]
    rows = csv_rows(path, wrong, _OWN_COLUMNS)
    headings = {heading: _heading(heading) for heading in (rows[0].values if rows else {})}
    if rows:
        _check_columns(path, [name for name in headings.values() if name], needed)
    elif not wrong:
        raise DataError(f"{path}: no rows after the first; import the exported file after filling it in")
    return [
        (f"row {row.sheet_row}", {headings[key]: cell for key, cell in row.values.items() if headings[key]})
        for row in rows
    ]


def columns_of(path: Path) -> set[str]:
    """The columns of a file's first row. Raises `DataError` for a file that cannot be read."""
    if not is_csv(path):
        return {name for row in jsonl_rows(path, [])[:1] for name in row.values}
    return {_heading(heading) for row in csv_rows(path, [], _OWN_COLUMNS)[:1] for heading in row.values}


def refuse_import(wrong: list[str], what: str = "the file") -> None:
    """Raise `DataError` with each problem, if there are any, and what to do: correct `what`, or leave rows out."""
    try:
        refuse(wrong)
    except DataError as error:
        raise DataError(
            f"{error}\nNothing was imported: correct {what}, or leave these rows out with --skip-wrong"
        ) from None


def text_of(cell: Any) -> str:
    """A cell's text without what the export added for spreadsheets; empty for null."""
    return "" if cell is None else restored(str(cell)).strip()


def is_empty(cell: Any) -> bool:
    return cell is None or (isinstance(cell, str) and not cell.strip())


def _check_columns(path: Path, names: list[str], needed: Sequence[str]) -> None:
    if lacking := [name for name in needed if name not in names]:
        raise DataError(
            f"{path}: line 1: no column {', '.join(lacking)}; there are: {', '.join(names)}. Separate cells by commas, "
            "semicolons or tabs, and keep the first row of the export unchanged"
        )
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{path}: line 1: duplicate columns: {', '.join(doubled)}")


def _heading(heading: str) -> str:
    """The name of a column without its explanation; empty for a column without a heading."""
    found = _HEADING.fullmatch(heading.strip())
    return found[1] if found else heading.strip()
