"""Re-reads the exports of blind pairs and people's answers: unreadable exports, answers without a pair.

None of this can be made again, so no finding advises to remove anything.
"""

from pathlib import Path

import polars as pl

from rft_pipeline.labels.pairs import FOLDER, LEFT, RIGHT, TIE, PairExport, pair_export_at, pair_rows
from rft_pipeline.progress import counted
from rft_pipeline.store import preferences_table
from rft_pipeline.upkeep.findings import FROM_BACKUP, IMPORT_AGAIN, StoreFinding, error


def pair_findings(store: Path, campaign: str | None) -> list[StoreFinding]:
    """What is wrong with the exports of one campaign or of all, and with the answers. Only for a readable table."""
    found: list[StoreFinding] = []
    pairs: dict[str, pl.DataFrame] = {}
    unread: set[str] = set()
    for path in sorted(store.glob(f"{campaign or '[!.]*'}/{FOLDER}/*.json")):
        wrong, rows = _export_findings(path, store)
        found += wrong
        if rows is None:
            unread.add(path.stem)
        else:
            pairs[path.stem] = rows
    table = preferences_table(store)
    answers = table.rows().collect()
    if campaign is not None:
        answers = answers.filter(pl.col("batch").is_in([*pairs, *unread]))
    for batch in sorted(set(answers["batch"]) - unread):
        for what, count in _wrong_answers(answers.filter(batch=batch), pairs.get(batch)).items():
            if count:
                text = f"{counted(count, 'answer')} of export {batch} {what}"
                found.append(error(Path(table.path), "", text, IMPORT_AGAIN))
    return found


def _export_findings(path: Path, store: Path) -> tuple[list[StoreFinding], pl.DataFrame | None]:
    try:
        export = pair_export_at(path)
    except (ValueError, TypeError, OSError) as unreadable:
        return [error(path.parent, path.name, f"cannot be read: {unreadable!r}", FROM_BACKUP)], None
    if (export.id, export.campaign) != (path.stem, path.parent.parent.name):
        what = f"is another export, {export.id} of {export.campaign}"
        return [error(path.parent, path.name, what, FROM_BACKUP)], None
    return _rows_of(export, path.with_suffix(".parquet"), store)


def _rows_of(export: PairExport, path: Path, store: Path) -> tuple[list[StoreFinding], pl.DataFrame | None]:
    try:
        rows = pair_rows(export, store)
    except (pl.exceptions.PolarsError, OSError) as unreadable:
        return [error(path.parent, path.name, f"cannot be read: {unreadable}", FROM_BACKUP)], None
    if rows.height != export.drawn:
        what = f"has {counted(rows.height, 'pair')}, not {export.drawn}"
        return [error(path.parent, path.name, what, FROM_BACKUP)], None
    return [], rows


def _wrong_answers(answers: pl.DataFrame, pairs: pl.DataFrame | None) -> dict[str, int]:
    """What is wrong with the answers of one export → the number of answers."""
    if pairs is None:
        return {"which does not exist": answers.height}
    shown = answers.join(pairs.select("pair_id", "left", "right"), on=["pair_id", "left", "right"], how="semi")
    return {
        "about pairs that it does not have": answers.height - shown.height,
        "other than left, right or tie": answers.filter(~pl.col("preferred").is_in([LEFT, RIGHT, TIE])).height,
    }
