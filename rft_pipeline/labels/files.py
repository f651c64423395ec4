"""The file that people fill in: prompt and reply, without round, model, score or reward.

CSV is UTF-8 with a byte order mark (for Excel) and with all cells quoted. The heading of a criterion's column has its
name, scale and description, so that these remain visible when the sheet is sorted.
"""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from rft_pipeline.campaign.addresses import readable_prompt
from rft_pipeline.labels.cells import escaped
from rft_pipeline.labels.exports import FIXED, Export, drawn_rows

FileFormat = Literal["csv", "jsonl"]
Delimiter = Literal[",", ";"]
"""What separates the cells of a CSV: Excel expects a semicolon where the decimal sign is a comma."""


def write_export(
    export: Export, store: Path, folder: Path, file_format: FileFormat, delimiter: Delimiter = ","
) -> Path:
    """Write `labels_<campaign>_<export id>.<format>` into a folder, replacing an existing one."""
    text = _as_csv(export, store, delimiter) if file_format == "csv" else _as_jsonl(export, store)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"labels_{export.campaign}_{export.id}.{file_format}"
    path.write_bytes(text.encode())
    return path


def _as_csv(export: Export, store: Path, delimiter: Delimiter) -> str:
    file = io.StringIO(newline="")
    file.write("\ufeff")
    writer = csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    headings = [escaped(f"{name} {asked.hint}") for name, asked in export.criteria.items()]
    writer.writerow(["rollout_id", "prompt", "reply", *headings, "annotator", "note", "export"])
    for cells in _cells(export, store):
        writer.writerow([*map(escaped, cells), *[""] * len(export.criteria), "", "", escaped(export.id)])
    return file.getvalue()


def _as_jsonl(export: Export, store: Path) -> str:
    empty = {"labels": dict.fromkeys(export.criteria), "annotator": "", "note": "", "export": export.id}
    asked = {name: each.hint for name, each in export.criteria.items()}
    rows = ({**dict(zip(FIXED, cells, strict=False)), **empty, "asked": asked} for cells in _cells(export, store))
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _cells(export: Export, store: Path) -> Iterator[tuple[str, str, str]]:
    rows = drawn_rows(export, store).select("rollout_id", "messages", "completion")
    for rollout_id, messages, completion in rows.iter_rows():
        yield rollout_id, readable_prompt(messages), completion
