"""The file of blind pairs that people fill in: prompt and two replies, without policy, model, score or reward.

CSV as in `labels.files`: UTF-8 with a byte order mark and all cells quoted.
"""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

from rft_pipeline.campaign.addresses import readable_prompt
from rft_pipeline.labels.cells import escaped
from rft_pipeline.labels.files import Delimiter, FileFormat
from rft_pipeline.labels.pairs import PairExport, pair_rows

COLUMNS = ("pair_id", "prompt", "left", "right", "preferred", "annotator", "note", "export")
ANSWER = "preferred (left, right or tie)"
"""Heading of the column `preferred`."""


def write_pairs(
    export: PairExport, store: Path, folder: Path, file_format: FileFormat, delimiter: Delimiter = ","
) -> Path:
    """Write `pairs_<campaign>_<export id>.<format>` into a folder, replacing an existing one."""
    rows = list(_cells(export, store))
    text = _as_csv(rows, delimiter) if file_format == "csv" else _as_jsonl(rows)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"pairs_{export.campaign}_{export.id}.{file_format}"
    path.write_bytes(text.encode())
    return path


def _as_csv(rows: list[tuple[str, ...]], delimiter: Delimiter) -> str:
    file = io.StringIO(newline="")
    file.write("\ufeff")
    writer = csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writerow([ANSWER if name == "preferred" else name for name in COLUMNS])
    writer.writerows(map(escaped, cells) for cells in rows)
    return file.getvalue()


def _as_jsonl(rows: list[tuple[str, ...]]) -> str:
    objects = (dict(zip(COLUMNS, cells, strict=True)) for cells in rows)
    return "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in objects)


def _cells(export: PairExport, store: Path) -> Iterator[tuple[str, ...]]:
    rows = pair_rows(export, store).select("pair_id", "messages", "left_reply", "right_reply")
    for pair, messages, left, right in rows.iter_rows():
        yield pair, readable_prompt(messages), left, right, "", "", "", export.id
