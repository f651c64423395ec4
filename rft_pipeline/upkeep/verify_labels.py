"""Re-reads the exports for people and their labels: unreadable exports, labels without an export.

None of this can be made again, so no finding advises to remove anything.
"""

from collections.abc import Iterable
from pathlib import Path

import polars as pl

from rft_pipeline.labels.exports import FOLDER, Export, export_at, rows_of
from rft_pipeline.progress import counted
from rft_pipeline.store import labels_table
from rft_pipeline.upkeep.findings import FROM_BACKUP, IMPORT_AGAIN, StoreFinding, error


def label_findings(store: Path, campaign: str | None) -> list[StoreFinding]:
    """What is wrong with the exports of one campaign or of all, and with their labels. Only for a readable table."""
    found: list[StoreFinding] = []
    exports: dict[str, Export] = {}
    unread: set[str] = set()
    for path in sorted(store.glob(f"{campaign or '[!.]*'}/{FOLDER}/*.json")):
        wrong, export = _export_findings(path, store)
        found += wrong
        if export is None:
            unread.add(path.stem)
        else:
            exports[export.id] = export
    labels = labels_table(store).rows().collect()
    if campaign is not None:
        labels = labels.filter(pl.col("batch").is_in(list({*exports, *unread})))
    folder = Path(labels_table(store).path)
    for batch in sorted(set(labels["batch"]) - unread):
        for what, count in _wrong_labels(labels.filter(batch=batch), exports.get(batch), store):
            found.append(error(folder, "", f"{counted(count, 'label')} of export {batch} {what}", IMPORT_AGAIN))
    return found


def _export_findings(path: Path, store: Path) -> tuple[list[StoreFinding], Export | None]:
    try:
        export = export_at(path)
    except (ValueError, TypeError, KeyError, OSError) as unreadable:
        return [error(path.parent, path.name, f"cannot be read: {unreadable!r}", FROM_BACKUP)], None
    if (export.id, export.campaign) != (path.stem, path.parent.parent.name):
        what = f"is another export, {export.id} of {export.campaign}"
        return [error(path.parent, path.name, what, FROM_BACKUP)], None
    rows = path.with_suffix(".parquet")
    try:
        drawn = rows_of(export, store).filter(pl.col("place") >= 0).height
    except (pl.exceptions.PolarsError, OSError) as unreadable:
        return [error(path.parent, rows.name, f"cannot be read: {unreadable}", FROM_BACKUP)], None
    if drawn != export.drawn:
        return [error(path.parent, rows.name, f"has {drawn} drawn rollouts, not {export.drawn}", FROM_BACKUP)], None
    return [], export


def _wrong_labels(labels: pl.DataFrame, export: Export | None, store: Path) -> Iterable[tuple[str, int]]:
    """What is wrong with the labels of one export → the number of labels."""
    if export is None:
        return [("which does not exist", labels.height)]
    drawn = rows_of(export, store).filter(pl.col("place") >= 0).select("rollout_id")
    unknown = sorted(set(labels["criterion"]) - set(export.criteria))
    wrong = {
        "for rollouts that were not drawn": labels.join(drawn, on="rollout_id", how="anti").height,
        f"for criteria that the export does not have: {', '.join(unknown)}": labels.filter(
            pl.col("criterion").is_in(unknown)
        ).height,
        "with values outside 0 to 1": labels.filter(~pl.col("value").is_between(0, 1)).height,
    }
    return [(what, count) for what, count in wrong.items() if count]
