"""The cells of a CSV: which character separates them, which line a row begins on, and what is no CSV."""

import csv
import io
import itertools
from collections.abc import Collection, Sequence
from pathlib import Path

from rft_pipeline.errors import DataError

_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_LONGEST_CELL = 2**31 - 1
"""In characters: the largest limit that the csv module accepts on every platform."""

Cells = list[tuple[int, int, list[str]]]
"""Of each row: the line it begins on, its number in a spreadsheet, and its cells."""


def csv_cells(path: Path, text: str, findings: list[str], expected: Collection[str], *, unfinished: bool) -> Cells:
    """The rows of a CSV, the header first; without the last one if it is `unfinished`. A row that is no CSV becomes a
    finding, and reading continues with the next line."""
    lines = io.StringIO(text, newline="")
    separator = max(_SEPARATORS, key=lambda each: _columns(lines, each, expected))
    csv.field_size_limit(_LONGEST_CELL)
    reader = csv.reader(lines, strict=True, delimiter=separator)
    cells: Cells = []
    begins = 1
    broken = False
    for sheet_row in itertools.count(1):
        try:
            row = next(reader, None)
        except csv.Error as error:  # the reader goes on with the next line
            broken = unfinished and _is_at_end(lines)
            if not cells and not broken:
                raise DataError(f"{path}: line {begins}: not CSV: {error}") from error
            findings += [] if broken else [f"{path}: line {begins}: not CSV: {error}"]
        else:
            if row is None:
                break
            if any(row) or (row and cells):
                cells.append((begins, sheet_row, row))
        begins = reader.line_num + 1
    if unfinished and not broken:
        cells = cells[:-1]
    if not cells:
        return []
    header = without_empty_end(cells[0][2])
    if repeated := sorted({name for name in header if header.count(name) > 1}):
        raise DataError(f"{path}: line 1: columns named twice: {', '.join(repeated)}")
    _refuse_other_separator(path, lines, separator, [row for _, _, row in cells])
    return cells


def _is_at_end(lines: io.StringIO) -> bool:
    position = lines.tell()
    rest = lines.read(1)
    lines.seek(position)
    return not rest


def _refuse_other_separator(path: Path, lines: io.StringIO, separator: str, cells: Sequence[list[str]]) -> None:
    """Raise `DataError` if the header is separated by `separator`, and all rows by another character."""
    header, rows = without_empty_end(cells[0]), cells[1:]
    if len(header) < 2 or not rows:
        return
    for other in (each for each in _SEPARATORS if all(each in row[0] for row in rows)):
        lines.seek(0)
        try:
            found = [without_empty_end(row) for row in csv.reader(lines, strict=True, delimiter=other) if any(row)]
        except csv.Error:
            continue  # a quoted cell: it holds the character
        if all(len(row) == len(header) for row in found[1:]):
            raise DataError(
                f"{path}: the header has {_SEPARATORS[separator]} between its columns, the rows have "
                f"{_SEPARATORS[other]} (from line 2 on); use the same character, or put cells that hold it in quotes"
            )


def without_empty_end(row: list[str]) -> list[str]:
    """Without the empty cells at its end, which spreadsheets add."""
    while row and not row[-1]:
        row = row[:-1]
    return row


def _columns(lines: io.StringIO, separator: str, expected: Collection[str]) -> tuple[int, int]:
    """How many of the expected columns, and how many columns at all, the header has with this separator."""
    try:
        header = next((row for row in csv.reader(lines, strict=True, delimiter=separator) if any(row)), [])
    except csv.Error:
        header = []
    lines.seek(0)
    return len(set(expected) & {cell.strip().strip("'").partition(" ")[0] for cell in header}), len(header)
