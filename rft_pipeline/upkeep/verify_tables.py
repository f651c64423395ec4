"""Re-reads the row tables: files that are gone or cut short, keys that stand twice, rows that records were made from.

A table's files carry no hash: what can be read again counts as sound.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import unquote

import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from rft_pipeline.stages import STAGES
from rft_pipeline.store import Record, Table, judgements_table, labels_table, rollouts_table
from rft_pipeline.store.tables import judged_by
from rft_pipeline.upkeep.findings import REMOVE_LABELS, REMOVE_TABLE, Finding, error, warning

Track = Callable[[list[Path], str], Iterable[Path]]
"""Yields the paths one by one while somebody watches; the text says what they are."""


def table_findings(store: Path, track: Track) -> tuple[list[Finding], bool]:
    """What is wrong with the tables, and whether all of their rows can be read."""
    broken: list[Finding] = []
    doubled: list[Finding] = []
    for table in (rollouts_table(store), judgements_table(store), labels_table(store)):
        if not Path(table.path).is_dir():
            continue
        wrong = _unreadable(table, track)
        broken += wrong
        doubled += [] if wrong else _doubled(table)
    return broken + doubled, not broken


def lacking_rows(store: Path, sound: list[Record], track: Track) -> list[Finding]:
    """Records with rollouts or judgements that the tables no longer hold. Only for tables that can be read."""
    by_folder = {record.folder: record for record in sound}
    by_address = {record.address: record for record in sound}
    findings = []
    for folder in track(list(by_folder), "rows of records"):
        for what, count in _lacking(store, by_folder[folder], by_address).items():
            do = "nothing: the record stands; a stage that asks for these rows makes them again"
            findings.append(warning(folder, "", f"{count} of its {what} are not in the table", do))
    return findings


def _unreadable(table: Table, track: Track) -> list[Finding]:
    folder = Path(table.path)
    try:
        added = pl.DataFrame(DeltaTable(table.path).get_add_actions(flatten=True))
    except (DeltaError, OSError) as unreadable:
        return [error(folder, "_delta_log", f"cannot be read: {unreadable}", _mend(table))]
    sizes = {folder / unquote(path): size for path, size in added.select("path", "size_bytes").iter_rows()}
    findings = []
    for path in track(sorted(sizes), f"files of the table {folder.name}"):
        if what := _unsound(path, sizes[path]):
            findings.append(error(folder, path.relative_to(folder).as_posix(), what, _mend(table)))
    return findings


def _mend(table: Table) -> str:
    return REMOVE_LABELS if table.key == "label_id" else REMOVE_TABLE


def _unsound(path: Path, size: int) -> str | None:
    if not path.is_file():
        return "is missing"
    if (found := path.stat().st_size) != size:
        return f"was altered: has {found} bytes, had {size}"
    try:
        for _ in pl.scan_parquet(path, glob=False).collect_batches():
            pass
    except (pl.exceptions.PolarsError, OSError) as unreadable:
        return f"cannot be read: {unreadable}"
    return None


def _doubled(table: Table) -> list[Finding]:
    doubled = table.doubled()
    if doubled.is_empty():
        return []
    what = f"{doubled.height} keys stand there more than once, e.g. {doubled[table.key].sort()[0]}"
    do = (
        "import the labels again: rft labels import"
        if table.key == "label_id"
        else "`rft gc --yes` keeps one row of each"
    )
    return [error(Path(table.path), table.key, what, do)]


def _lacking(store: Path, record: Record, sound: dict[str, Record]) -> dict[str, int]:
    found = {}
    rollouts = STAGES[record.payload["stage"]].rollouts_in(record)
    if rollouts.height and (count := rollouts_table(store).missing(rollouts).height):
        found["rollouts"] = count
    table, lacking = judgements_table(store), 0
    for asked, subjects in STAGES[record.payload["stage"]].judgements_in(record, sound.get):
        if subjects is not None:
            have = table.rows(*judged_by(*asked)).select("subject").collect()
            lacking += subjects.join(have, on="subject", how="anti").height
    if lacking:
        found["judgements"] = lacking
    return found
