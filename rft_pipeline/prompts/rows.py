"""Reads rows with their places from JSON Lines, JSON, CSV, Parquet, or a data set of the hub.

A row that cannot be read becomes a finding and reading continues, so one run shows all errors of a file. A file that
cannot be read at all raises `DataError`.
"""

import gzip
import json
import re
import zlib
from collections.abc import Collection, Iterable, Sequence
from datetime import date, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from rft_pipeline.errors import DataError
from rft_pipeline.progress import counted
from rft_pipeline.prompts.csv_cells import csv_cells, without_empty_end
from rft_pipeline.prompts.strict_json import parse_json

SHOWN = 20
"""Maximum number of findings in one error; the others are counted."""
ALIKE_SHOWN = 5
"""Maximum number of findings that differ only in their row and in the value that was found there."""

_BOM = b"\xef\xbb\xbf"
_EXCEL_LINE = re.compile(rb"(sep=.)\r?\n", re.IGNORECASE)
_ROW = re.compile(r"\b(line|row|item) \d+")


class Row(NamedTuple):
    """One row and its place."""

    unit: str
    """`line` in text files, `row` elsewhere."""
    number: int
    """Counted from 1."""
    values: dict[str, Any]
    sheet_row: int | None = None
    """Only for CSV: the row's number in a spreadsheet, where a cell with line breaks is one row."""

    @property
    def place(self) -> str:
        return f"{self.unit} {self.number}"


def longest_column(rows: Sequence[Row]) -> str:
    """The column of the first row whose values are the longest texts; there must be one."""
    return max(rows[0].values, key=lambda name: sum(len(str(row.values.get(name) or "")) for row in rows))


def refuse(findings: list[str]) -> None:
    """Raise `DataError` with the findings in lines, if there are any."""
    if findings:
        raise DataError("\n".join(listed(findings)))


def listed(findings: Sequence[str]) -> list[str]:
    """At most `SHOWN` findings, and of those that are alike `ALIKE_SHOWN`, with lines that count the others."""
    alike: dict[str, list[str]] = {}
    for each in findings:
        alike.setdefault(_ROW.sub("", each).partition(", is ")[0], []).append(each)
    lines: list[str] = []
    shown = left = 0
    for group in alike.values():
        some = group[: min(ALIKE_SHOWN, SHOWN - shown)]
        shown += len(some)
        lines += some
        if some and len(group) > len(some):
            lines.append(f"… and {len(group) - len(some)} more like the last")
        left += 0 if some else len(group)
    return [*lines, *([f"… and {left} more"] if left else [])]


def shown(value: Any) -> str:
    """A value for an error message, shortened."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def file_rows(path: Path, file_type: str, findings: list[str], *, growing: bool = False) -> list[Row]:
    """The rows of a `jsonl`, `json`, `csv` or `parquet` file. `growing`: its last row may still be being written."""
    match file_type:
        case "jsonl":
            return jsonl_rows(path, findings, growing=growing)
        case "json":
            return json_rows(path, findings)
        case "csv":
            return csv_rows(path, findings, growing=growing)
        case _:
            return parquet_rows(path)


def jsonl_rows(path: Path, findings: list[str], *, growing: bool = False) -> list[Row]:
    """The objects of a JSON Lines file; blank lines are skipped but counted.

    In a `growing` file, an incomplete last line without a line break is still being written, so it is left out.
    """
    rows = []
    lines = _read(path).removeprefix(_BOM).split(b"\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            rows.append(Row("line", number, _json_object(line)))
        except DataError as error:
            if not (growing and number == len(lines)):
                findings.append(f"{path}: line {number}: {error}")
    return rows


def json_rows(path: Path, findings: list[str]) -> list[Row]:
    """The objects of a JSON list, or of the list `data` in an object; a file with several values is read as JSON
    Lines."""
    text = _read(path).removeprefix(_BOM)
    try:
        value = parse_json(text) if text.strip() else []
    except DataError as error:
        if "Extra data" in str(error):
            return jsonl_rows(path, findings)
        raise DataError(f"{path}: {error}") from error
    if isinstance(value, dict):
        value = value.get("data", [value])
    if not isinstance(value, list):
        raise DataError(f'{path}: must be a list of objects like [{{"prompt": "..."}}], is {shown(value)}')
    rows = []
    for number, each in enumerate(value, start=1):
        if isinstance(each, dict):
            rows.append(Row("item", number, each))
        else:
            findings.append(f"{path}: item {number}: must be an object, is {shown(each)}")
    return rows


def csv_rows(path: Path, findings: list[str], expected: Collection[str] = (), *, growing: bool = False) -> list[Row]:
    """The rows of a CSV file with a header; a row's place is its first line.

    Every cell is text ("007", "1e5", "true"); an empty cell is null. Cells are separated by commas, semicolons or tabs:
    whatever gives the header most of the `expected` columns, else most columns. In a `growing` file, text after the
    last line break is still being written, so it is left out.
    """
    data = _read(path).removeprefix(_BOM)
    if excel := _EXCEL_LINE.match(data):  # Excel's own first line; read as an empty one
        data = data[excel.end(1) :]
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}: line {line}: not UTF-8: byte 0x{data[error.start]:02x}; save it as UTF-8 (in Excel: Save As, "
            'file type "CSV UTF-8"; in LibreOffice: Save As, character set UTF-8)'
        ) from error
    unfinished = growing and not data.endswith((b"\n", b"\r"))
    cells = csv_cells(path, text, findings, expected, unfinished=unfinished)
    if not cells:
        return []
    header = without_empty_end(cells[0][2])
    rows = []
    for number, sheet_row, row in cells[1:]:
        if len(row) > len(header):
            row = [*row[: len(header)], *without_empty_end(row[len(header) :])]
        if len(row) == len(header):
            values = {name: cell or None for name, cell in zip(header, row, strict=True)}
            rows.append(Row("line", number, values, sheet_row))
        else:
            findings.append(f"{path}: line {number}: {counted(len(row), 'cell')}; the header has {len(header)}")
    return rows


def parquet_rows(path: Path) -> list[Row]:
    """The rows of a Parquet file, with dates and decimals as text."""
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        frame = pl.read_parquet(path, glob=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path}: not a Parquet file, or a damaged one: {str(error).splitlines()[0]}") from error
    return numbered(frame.iter_rows(named=True))


def hub_rows(source: str, split: str) -> list[Row]:
    """The rows of one split of a data set of the hub, or of a folder in its layout."""
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError

    try:
        return numbered(load_dataset(source, split=split))
    except (OSError, ValueError, DatasetsError) as error:
        first = (str(error).splitlines() or ["no message"])[0]
        raise DataError(
            f"hub data set {source}, split {split}: {type(error).__name__}: {first}\n"
            "Check the id, the split and the connection (a private data set needs `hf auth login`), "
            "or save the rows as a .jsonl file in the campaign's folder and use that as the source."
        ) from error


def numbered(rows: Iterable[dict[str, Any]]) -> list[Row]:
    """Rows of a source without lines, numbered from 1."""
    return [Row("row", number, _plain(row)) for number, row in enumerate(rows, start=1)]


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    data = path.read_bytes()
    if path.suffix != ".gz":
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: not a gzip file, or a damaged one: {error}") from error


def _json_object(line: bytes) -> dict[str, Any]:
    value = parse_json(line, "; each line must be one object")
    if not isinstance(value, dict):
        raise DataError(f'must be an object like {{"prompt": "..."}}, is {shown(value)}')
    return value


def _text_of(value: bytes) -> str | bytes:
    """The text of a Parquet column that is not marked as text; other bytes as they are."""
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        return value
    return value if "\0" in text else text


def _plain(value: Any) -> Any:
    match value:
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case list():
            return [_plain(item) for item in value]
        case bytes():
            return _text_of(value)
        case date() | time():
            return value.isoformat()
        case timedelta() | Decimal():
            return str(value)
        case _:
            return value
