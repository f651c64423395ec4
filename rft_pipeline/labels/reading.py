"""Reads files that people filled in: rows with their places, and cells by the names of their columns."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class FilledFile:
    """A CSV or JSON Lines file that people filled in."""

    path: Path
    is_csv: bool
    columns: tuple[str, ...]
    """Of the first row, without explanations; empty for a column without a heading."""
    rows: tuple[PlacedRow, ...]
    wrong: tuple[str, ...]
    """Rows that cannot be read, with the reason."""

    @property
    def has_pairs(self) -> bool:
        """Whether it is an export of pairs, by its columns."""
        return bool({"pair_id", "preferred"} & set(self.columns))

    def check_columns(self, needed: Sequence[str]) -> None:
        """Raise `DataError` for a CSV without rows, without one of the columns `needed`, or with a column twice."""
        if not self.is_csv:
            return
        if self.rows:
            _check_columns(self.path, [name for name in self.columns if name], needed)
        elif not self.wrong:
            raise DataError(f"{self.path}: no rows after the first; import the exported file after filling it in")


def read_filled(path: Path) -> FilledFile:
    """Read a file, by its suffix. Raises `DataError` for another file type, or a file that cannot be read."""
    suffix = path.suffix.lower()
    if suffix not in (*_CSV, *_JSONL):
        raise DataError(f"{path}: allowed file types: {', '.join((*_CSV, *_JSONL))}; save a spreadsheet as CSV UTF-8")
    wrong: list[str] = []
    if suffix in _JSONL:
        rows = [(row.place, row.values) for row in jsonl_rows(path, wrong)]
        columns = tuple(rows[0][1]) if rows else ()
        return FilledFile(path, False, columns, tuple(rows), tuple(wrong))
    found = csv_rows(path, wrong, _OWN_COLUMNS)
    headings = {heading: _heading(heading) for heading in (found[0].values if found else {})}
    rows = [
        (f"row {row.sheet_row}", {headings[key]: cell for key, cell in row.values.items() if headings[key]})
        for row in found
    ]
    return FilledFile(path, True, tuple(headings.values()), tuple(rows), tuple(wrong))


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
