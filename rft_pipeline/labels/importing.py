"""Imports labels from a filled-in file or from MLflow: checks every cell, and writes all labels or none.

A label is identified by rollout, criterion and annotator. Importing it again changes nothing. Another value, note or
question by the same annotator replaces it, except that an answer to an old question does not replace an answer to the
current one. An empty cell has no effect and does not remove a label.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import polars as pl

from rft_pipeline.campaign import Campaign
from rft_pipeline.errors import ConfigError
from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.labels.cells import value_of
from rft_pipeline.labels.exports import (
    FIXED,
    Export,
    LabelQuestion,
    drawn_rows,
    exports_of,
    label_question,
    label_questions,
)
from rft_pipeline.labels.queue_answers import answers_in_mlflow
from rft_pipeline.labels.reading import FilledFile, PlacedRow, is_empty, refuse_import, text_of
from rft_pipeline.prompts.rows import shown
from rft_pipeline.store import Home, labels_table
from rft_pipeline.store.rows import LABELS, label_id


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


def import_labels(campaign: Campaign, store: Path, file: FilledFile, *, skip_wrong: bool) -> Imported:
    """Read a filled-in export of this campaign into the labels table.

    Raises `DataError` with each wrong row and the reason (unless `skip_wrong`), or for wrong columns; then nothing is
    written. Raises `ConfigError` if nothing was exported.
    """
    exports = _exports_to_import(campaign, store)
    file.check_columns(("rollout_id", "annotator", "export"))
    wrong = list(file.wrong)
    reader = _Reader(str(file.path), exports, store, wrong)
    rows = reader.labels(file.rows if file.is_csv else _with_labels(file.path, file.rows, wrong))
    if not skip_wrong:
        refuse_import(wrong)
    return _written(rows, reader, store, campaign)


def import_label_queues(campaign: Campaign, home: Home, *, skip_wrong: bool) -> Callable[[], Imported]:
    """Read and check the answers in MLflow to all exports of this campaign's rollouts; the function writes them into
    the labels table.

    Raises as `import_labels` does, and `TrackingError` if MLflow cannot be read.
    """
    exports = _exports_to_import(campaign, home.store)
    now = label_questions(campaign)
    outdated = [
        (export.id, name)
        for export in exports
        for name, asked in export.criteria.items()
        if name not in now or now[name].hint != asked.hint
    ]
    answers = answers_in_mlflow(campaign.name, home, pairs=False, outdated=outdated)
    wrong: list[str] = []
    reader = _Reader("MLflow", exports, home.store, wrong)
    rows = reader.labels(answers.rows(key="rollout_id"))
    if not skip_wrong:
        refuse_import(wrong, "the answers on the page")

    def write() -> Imported:
        done = _written(rows, reader, home.store, campaign)
        return replace(done, empty_rows=answers.empty, rejected=(*answers.left_out, *done.rejected))

    return write


def _exports_to_import(campaign: Campaign, store: Path) -> list[Export]:
    if exports := exports_of(campaign.name, store):
        return exports
    raise ConfigError(f"{campaign.name} has no export to import labels for: rft labels export {campaign.name}")


def _written(rows: pl.DataFrame, reader: "_Reader", store: Path, campaign: Campaign) -> Imported:
    """Write new and changed labels."""
    new, changed, outdated = _to_write(rows, store, reader.asked, campaign)
    both = pl.concat([new, changed])
    if both.height:
        labels_table(store).upsert(both)
    annotators = tuple(sorted(set(rows["annotator"])))
    unchanged = rows.height - both.height - outdated
    return Imported(new.height, changed.height, unchanged, reader.empty, outdated, annotators, tuple(reader.wrong))


class _Reader:
    """Turns the rows of a file or of MLflow into labels; appends errors to `wrong`."""

    def __init__(self, source: str, exports: Sequence[Export], store: Path, wrong: list[str]) -> None:
        self.source = source
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

    def labels(self, rows: Sequence[PlacedRow]) -> pl.DataFrame:
        """A row per label; `rows` have a place and cells by heading."""
        found: list[dict[str, Any]] = []
        first: dict[str, str] = {}
        for place, cells in rows:
            try:
                labels = self._of_row(cells)
                for label in labels:
                    if label["label_id"] in first:
                        who, where = label["annotator"], first[label["label_id"]]
                        raise ValueError(f"{who} already labelled rollout {label['rollout_id']} in {where}")
                first |= dict.fromkeys((label["label_id"] for label in labels), place)
            except ValueError as error:
                self.wrong.append(f"{self.source}: {place}: {error}")
                continue
            self.empty += not labels
            found += labels
        return pl.DataFrame(found, schema=LABELS)

    def _of_row(self, cells: dict[str, Any]) -> list[dict[str, Any]]:
        """The labels of one row, none if all its cells are empty. Raises `ValueError` with all problems of the row."""
        given = {name: cell for name, cell in cells.items() if name not in FIXED and not is_empty(cell)}
        if not given:
            return []
        names = ("export", "rollout_id", "annotator", "note")
        export, rollout, annotator, note = (text_of(cells.get(name)) for name in names)
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


def _with_labels(path: Path, rows: Sequence[PlacedRow], wrong: list[str]) -> list[PlacedRow]:
    """Rows of JSON Lines with a cell for each of their `labels`."""
    found = []
    for place, values in rows:
        labels = values.get("labels")
        if not isinstance(labels, dict) or set(labels) & set(FIXED):
            wrong.append(f"{path}: {place}: `labels` must be an object of criteria and values, is {shown(labels)}")
            continue
        fixed = {name: values.get(name) for name in FIXED}
        found.append((place, {**fixed, **labels}))
    return found


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
