"""Re-reads the exports for people and what people answered: unreadable exports, answers without an export.

None of this can be made again, so no finding advises to remove anything.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Generic, NamedTuple, Protocol, TypeVar

import polars as pl

from rft_pipeline.labels import exports, pairs
from rft_pipeline.labels.exports import Export, drawn_rows, export_at
from rft_pipeline.labels.pairs import LEFT, RIGHT, TIE, PairExport, pair_export_at, pair_rows
from rft_pipeline.progress import counted
from rft_pipeline.store import labels_table, preferences_table
from rft_pipeline.store.tables import Table
from rft_pipeline.upkeep.findings import FROM_BACKUP, IMPORT_AGAIN, StoreFinding, error


class AnyExport(Protocol):
    """What both kinds of exports have."""

    @property
    def id(self) -> str: ...
    @property
    def campaign(self) -> str: ...
    @property
    def drawn(self) -> int: ...


E = TypeVar("E", bound=AnyExport)


class ExportKind(NamedTuple, Generic[E]):
    """What people are asked for: labels of replies, or which of two replies is better."""

    folder: str
    """Below the campaign's, with a JSON file and a Parquet file for each export."""
    read: Callable[[Path], E]
    rows: Callable[[E, Path], pl.DataFrame]
    """What an export shows to people."""
    row: str
    table: Callable[[Path], Table]
    """What people answered; `batch` is the export's id."""
    answer: str
    wrong: Callable[[pl.DataFrame, E, pl.DataFrame], Mapping[str, int]]
    """Answers to an export, the export and its rows → what is wrong with them → the number of answers."""


def export_findings(store: Path, campaign: str | None) -> list[StoreFinding]:
    """What is wrong with the exports of one campaign or of all, and with the answers to them. Only for readable
    tables."""
    return [*_findings(_LABELS, store, campaign), *_findings(_PAIRS, store, campaign)]


def _findings(kind: ExportKind[E], store: Path, campaign: str | None) -> list[StoreFinding]:
    found: list[StoreFinding] = []
    known: dict[str, tuple[E, pl.DataFrame] | None] = {}
    for path in sorted(store.glob(f"{campaign or '[!.]*'}/{kind.folder}/*.json")):
        read = _read(kind, path, store)
        if isinstance(read, StoreFinding):
            found.append(read)
        known[path.stem] = None if isinstance(read, StoreFinding) else read
    table = kind.table(store)
    answers = table.rows().collect()
    if campaign is not None:
        answers = answers.filter(pl.col("batch").is_in(list(known)))
    for batch in sorted(set(answers["batch"]) - {name for name, each in known.items() if each is None}):
        of_batch, export = answers.filter(batch=batch), known.get(batch)
        wrong = {"which does not exist": of_batch.height} if export is None else kind.wrong(of_batch, *export)
        for what, count in wrong.items():
            if count:
                text = f"{counted(count, kind.answer)} of export {batch} {what}"
                found.append(error(Path(table.path), "", text, IMPORT_AGAIN))
    return found


def _read(kind: ExportKind[E], path: Path, store: Path) -> tuple[E, pl.DataFrame] | StoreFinding:
    """An export and its rows, or why they cannot be used."""
    try:
        export = kind.read(path)
    except (ValueError, TypeError, KeyError, OSError) as unreadable:
        return error(path.parent, path.name, f"cannot be read: {unreadable!r}", FROM_BACKUP)
    if (export.id, export.campaign) != (path.stem, path.parent.parent.name):
        return error(path.parent, path.name, f"is another export, {export.id} of {export.campaign}", FROM_BACKUP)
    file = path.with_suffix(".parquet").name
    try:
        rows = kind.rows(export, store)
    except (pl.exceptions.PolarsError, OSError) as unreadable:
        return error(path.parent, file, f"cannot be read: {unreadable}", FROM_BACKUP)
    if rows.height != export.drawn:
        return error(path.parent, file, f"has {counted(rows.height, kind.row)}, not {export.drawn}", FROM_BACKUP)
    return export, rows


def _wrong_labels(labels: pl.DataFrame, export: Export, drawn: pl.DataFrame) -> dict[str, int]:
    unknown = sorted(set(labels["criterion"]) - set(export.criteria))
    return {
        "for rollouts that were not drawn": labels.join(drawn, on="rollout_id", how="anti").height,
        f"for criteria that the export does not have: {', '.join(unknown)}": labels.filter(
            pl.col("criterion").is_in(unknown)
        ).height,
        "with values outside 0 to 1": labels.filter(~pl.col("value").is_between(0, 1)).height,
    }


def _wrong_preferences(answers: pl.DataFrame, export: PairExport, shown: pl.DataFrame) -> dict[str, int]:
    sides = ["pair_id", "left", "right"]
    return {
        "about pairs that it does not have": answers.join(shown.select(sides), on=sides, how="anti").height,
        "other than left, right or tie": answers.filter(~pl.col("preferred").is_in([LEFT, RIGHT, TIE])).height,
    }


_LABELS = ExportKind(exports.FOLDER, export_at, drawn_rows, "drawn rollout", labels_table, "label", _wrong_labels)
_PAIRS = ExportKind(pairs.FOLDER, pair_export_at, pair_rows, "pair", preferences_table, "answer", _wrong_preferences)
