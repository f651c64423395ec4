"""Imports labels from a filled-in file: checks every cell, and writes all labels or none.

A label is identified by rollout, criterion and annotator. Importing it again changes nothing. Another value, note or
question by the same annotator replaces it, except that an answer to an old question does not replace an answer to the
current one. An empty cell has no effect and does not remove a label.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import polars as pl

from rft_pipeline.campaign import Campaign
from rft_pipeline.errors import ConfigError, DataError
from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.labels.cells import restored, value_of
from rft_pipeline.labels.exports import FIXED, Export, LabelQuestion, drawn_rows, exports_of, label_question
from rft_pipeline.prompts.rows import Row, csv_rows, jsonl_rows, refuse, shown
from rft_pipeline.store import labels_table
from rft_pipeline.store.tables import LABELS, label_id

_CSV, _JSONL = (".csv", ".tsv", ".txt"), (".jsonl", ".ndjson")
_HEADING = re.compile(r"'?([a-z][a-z0-9_]*)(\s.*)?", re.DOTALL)


@dataclass(frozen=True)
class Imported:
    """The result of an import."""

    new: int
    changed: int
    unchanged: int
    empty_rows: int
    """Rows without labels."""
    outdated: int
    """Answers to an old question that do not replace the annotator's answer to the current one."""
    annotators: tuple[str, ...]
    rejected: tuple[str, ...]
    """Place and reason for each row that was left out."""


def split_of(prompt_id: str) -> Literal["calibration", "audit"]:
    """The split of a prompt's labels: fitting a judge's scale, or auditing the judge."""
    return "calibration" if int(fingerprint(["label split", prompt_id]), 16) % 2 else "audit"


def import_labels(campaign: Campaign, store: Path, path: Path, *, skip_wrong: bool) -> Imported:
    """Read a filled-in export of this campaign into the labels table.

    Raises `DataError` with each wrong row and the reason (unless `skip_wrong`), or for an unreadable file; then nothing
    is written. Raises `ConfigError` if nothing was exported.
    """
    name, exports = campaign.name, exports_of(campaign.name, store)
    if not exports:
        raise ConfigError(f"{name} has no export to import labels for: rft labels export {name}")
    wrong: list[str] = []
    reader = _Reader(path, exports, store, wrong)
    rows = reader.labels(_csv(path, wrong) if path.suffix.lower() in _CSV else _jsonl(path, wrong))
    if wrong and not skip_wrong:
        try:
            refuse(wrong)
        except DataError as error:
            raise DataError(
                f"{error}\nNothing was imported: correct the file, or leave these rows out with --skip-wrong"
            ) from None
    new, changed, outdated = _to_write(rows, store, reader.asked, campaign)
    both = pl.concat([new, changed])
    if both.height:
        labels_table(store).upsert(both)
    annotators = tuple(sorted(set(rows["annotator"])))
    unchanged = rows.height - both.height - outdated
    return Imported(new.height, changed.height, unchanged, reader.empty, outdated, annotators, tuple(wrong))


class _Reader:
    """Turns a file's rows into labels; appends errors to `wrong`."""

    def __init__(self, path: Path, exports: Sequence[Export], store: Path, wrong: list[str]) -> None:
        self.path = path
        self.wrong = wrong
        self.empty = 0
        self.campaign = exports[0].campaign
        self.asked: dict[tuple[str, str], LabelQuestion] = {}
        self.drawn: dict[tuple[str, str], dict[str, Any]] = {}
        for export in exports:
            self.asked |= {(export.id, name): asked for name, asked in export.criteria.items()}
            for row in drawn_rows(export, store).select("rollout_id", "prompt_id", "inclusion").iter_rows(named=True):
                self.drawn[export.id, row["rollout_id"]] = {**row, "batch": export.id}
        self.now = datetime.now(UTC).isoformat(timespec="seconds")

    def labels(self, rows: list[tuple[str, dict[str, Any]]]) -> pl.DataFrame:
        """A row per label; `rows` have a place and cells by heading."""
        found: list[dict[str, Any]] = []
        first: dict[tuple[str, str], str] = {}
        for place, cells in rows:
            try:
                labels = self._of_row(cells)
                if labels:
                    who = labels[0]["rollout_id"], labels[0]["annotator"]
                    if who in first:
                        raise ValueError(f"{who[1]} already labelled rollout {who[0]} in {first[who]}")
                    first[who] = place
            except ValueError as error:
                self.wrong.append(f"{self.path}: {place}: {error}")
                continue
            self.empty += not labels
            found += labels
        return pl.DataFrame(found, schema=LABELS)

    def _of_row(self, cells: dict[str, Any]) -> list[dict[str, Any]]:
        """The labels of one row, none if all its cells are empty. Raises `ValueError` with all problems of the row."""
        given = {name: cell for name, cell in cells.items() if name not in FIXED and not _is_empty(cell)}
        if not given:
            return []
        names = ("export", "rollout_id", "annotator", "note")
        export, rollout, annotator, note = (_text(cells.get(name)) for name in names)
        problems, values = [], {}
        if (export, rollout) not in self.drawn:
            problems.append(f"no export {shown(export)} of {self.campaign} has rollout_id {shown(rollout)}")
        if not annotator:
            problems.append("no annotator: write who labelled it")
        allowed = [name for batch, name in self.asked if batch == export]
        for name, cell in given.items() if allowed else ():
            if name not in allowed:
                problems.append(f"the export has no criterion {shown(name)}; allowed: {', '.join(allowed)}")
                continue
            try:
                values[name] = value_of(cell, self.asked[export, name])
            except ValueError as error:
                problems.append(f"{name}: {error}")
        if problems:
            raise ValueError("; ".join(problems))
        known = {**self.drawn[export, rollout], "annotator": annotator, "note": note, "created": self.now}
        known["split"] = split_of(known["prompt_id"])
        return [
            {**known, "label_id": label_id(rollout, name, annotator), "criterion": name, "value": value}
            for name, value in values.items()
        ]


def _csv(path: Path, wrong: list[str]) -> list[tuple[str, dict[str, Any]]]:
    rows = csv_rows(path, wrong, separators=",;\t")
    headings = {heading: _heading(heading) for heading in (rows[0].values if rows else {})}
    names = [name for name in headings.values() if name]
    if rows:
        _check_columns(path, names)
    elif not wrong:
        raise DataError(f"{path}: no rows after the first; import the exported file after filling it in")
    return [(_place(row), {headings[key]: cell for key, cell in row.values.items() if headings[key]}) for row in rows]


def _jsonl(path: Path, wrong: list[str]) -> list[tuple[str, dict[str, Any]]]:
    if path.suffix.lower() not in _JSONL:
        raise DataError(f"{path}: allowed file types: {', '.join((*_CSV, *_JSONL))}; save a spreadsheet as CSV UTF-8")
    found = []
    for row in jsonl_rows(path, wrong):
        labels = row.values.get("labels")
        if not isinstance(labels, dict) or set(labels) & set(FIXED):
            wrong.append(f"{path}: {row.place}: `labels` must be an object of criteria and values, is {shown(labels)}")
            continue
        fixed = {name: row.values.get(name) for name in FIXED}
        found.append((row.place, {**fixed, **labels}))
    return found


def _check_columns(path: Path, names: list[str]) -> None:
    if lacking := [name for name in ("rollout_id", "annotator", "export") if name not in names]:
        raise DataError(
            f"{path}: line 1: no column {', '.join(lacking)}; there are: {', '.join(names)}. Separate cells by commas, "
            "semicolons or tabs, and keep the first row of the export unchanged"
        )
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{path}: line 1: duplicate columns: {', '.join(doubled)}")


def _heading(heading: str) -> str:
    """The criterion or the name of a column; empty for a column without a heading."""
    found = _HEADING.fullmatch(heading.strip())
    return found[1] if found else heading.strip()


def _place(row: Row) -> str:
    return f"row {row.sheet_row}"


def _text(cell: Any) -> str:
    return "" if cell is None else restored(str(cell)).strip()


def _is_empty(cell: Any) -> bool:
    return cell is None or (isinstance(cell, str) and not cell.strip())


def _to_write(
    rows: pl.DataFrame, store: Path, asked: Mapping[tuple[str, str], LabelQuestion], campaign: Campaign
) -> tuple[pl.DataFrame, pl.DataFrame, int]:
    """The rows that are new, the rows that replace a stored or duplicate label, and the number of outdated rows;
    `asked` holds the question of each export and criterion."""
    table = labels_table(store)
    now = {criterion.name: label_question(criterion).hint for criterion in campaign.rubric.criteria}
    hints = pl.DataFrame(
        [(*where, each.hint, each.hint == now.get(where[1])) for where, each in asked.items()],
        schema={"batch": pl.String, "criterion": pl.String, "hint": pl.String, "counts": pl.Boolean},
        orient="row",
    )
    new = table.missing(rows)
    stored = table.read(rows).join(hints, on=["batch", "criterion"], how="left")
    stored = stored.select("label_id", pl.col("value", "note", "hint", "counts").name.prefix("stored_"))
    both = rows.join(hints, on=["batch", "criterion"], how="left").join(stored, on="label_id", how="inner")
    is_outdated = pl.col("stored_counts").fill_null(False) & ~pl.col("counts")
    differs = pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"stored_{name}")) for name in ("value", "note", "hint"))
    twice = pl.col("label_id").is_in(table.doubled()["label_id"].implode())
    changed = both.filter((differs | twice) & ~is_outdated).select(LABELS.names())
    return new, changed, both.filter(is_outdated).height
