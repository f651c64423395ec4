"""Re-reads the row tables: missing or truncated files, duplicate keys, and rows of records that are missing.

A table's files have no hash: a readable file counts as correct.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import unquote

import polars as pl
from deltalake.exceptions import DeltaError

from rft_pipeline.campaign.addresses import JudgementKey
from rft_pipeline.stages import stage_of
from rft_pipeline.stages.rows_used import short
from rft_pipeline.store import Record, Table, judgements_table, labels_table, preferences_table, rollouts_table
from rft_pipeline.store.rows import judged_by
from rft_pipeline.upkeep.findings import REMOVE_LABELS, REMOVE_TABLE, StoreFinding, error, warning

OF_PEOPLE = ("label_id", "preference_id")
"""Keys of the tables that hold what people said."""

Track = Callable[[list[Path], str], Iterable[Path]]
"""Yields the paths one by one and shows progress; the text names them."""


def table_findings(store: Path, track: Track) -> tuple[list[StoreFinding], bool]:
    """What is wrong with the tables, and whether all of their rows can be read."""
    broken: list[StoreFinding] = []
    doubled: list[StoreFinding] = []
    for table in tables_of(store):
        if not Path(table.path).is_dir() and not table.exists():
            continue
        wrong = _unreadable(table, track)
        broken += wrong
        doubled += [] if wrong else _doubled(table)
    return broken + doubled, not broken


def tables_of(store: Path) -> list[Table]:
    """All tables of a store, whether they exist or not."""
    return [rollouts_table(store), judgements_table(store), labels_table(store), preferences_table(store)]


def lacking_rows(store: Path, sound: list[Record], track: Track) -> list[StoreFinding]:
    """Records whose rollouts or judgements are missing in the tables, each of which is read once for all records. Only
    for readable tables."""
    records = list({record.folder: record for record in sound}.values())
    by_address = {record.address: record for record in sound}
    rollouts: list[pl.DataFrame] = []
    subjects: dict[JudgementKey, list[pl.DataFrame]] = defaultdict(list)
    for number, _ in enumerate(track([record.folder for record in records], "rows of records")):
        record, whose = records[number], pl.lit(number, pl.UInt32).alias("record")
        rollouts.append(stage_of(record).rollouts_in(record).select(short("rollout_id"), whose))
        for key, seen in stage_of(record).judgements_in(record, by_address.get):
            if seen is not None:
                subjects[key].append(seen.with_columns(whose))
    stored = judgements_table(store)
    absent = {
        "rollouts": _absent(rollouts, rollouts_table(store).scan()),
        "judgements": sum(
            (_absent(wanted, stored.scan(*judged_by(*key))) for key, wanted in subjects.items()), Counter[int]()
        ),
    }
    do = "nothing: the record is valid; a stage that needs these rows makes them again"
    return [
        warning(record.folder, "", f"{counts[number]} of its {what} are not in the table", do)
        for number, record in enumerate(records)
        for what, counts in absent.items()
        if counts[number]
    ]


def _unreadable(table: Table, track: Track) -> list[StoreFinding]:
    folder = Path(table.path)
    try:
        added = pl.DataFrame(table.delta().get_add_actions(flatten=True))
        table.files()  # fetches them from a bucket
    except (DeltaError, OSError) as unreadable:
        return [error(folder, "_delta_log", f"cannot be read: {unreadable}", _fix(table))]
    sizes = {folder / unquote(path): size for path, size in added.select("path", "size_bytes").iter_rows()}
    findings = []
    for path in track(sorted(sizes), f"files of the table {folder.name}"):
        if what := _unsound(path, sizes[path]):
            findings.append(error(folder, path.relative_to(folder).as_posix(), what, _fix(table)))
    return findings


def _fix(table: Table) -> str:
    return REMOVE_LABELS if table.key in OF_PEOPLE else REMOVE_TABLE


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


def _doubled(table: Table) -> list[StoreFinding]:
    doubled = table.doubled()
    if doubled.is_empty():
        return []
    what = f"{doubled.height} keys have several rows, e.g. {doubled[table.key].sort()[0]}"
    do = (
        "import the filled-in files again: rft labels import"
        if table.key in OF_PEOPLE
        else "`rft gc --yes` keeps one row per key"
    )
    return [error(Path(table.path), table.key, what, do)]


def _absent(wanted: list[pl.DataFrame], rows: pl.LazyFrame) -> Counter[int]:
    """How many rows of `wanted` (a key as `short`, and its record's number) are not among `rows`, by record."""
    if not wanted:
        return Counter()
    key = wanted[0].columns[0]
    found = pl.concat(wanted).lazy().join(rows.select(short(key)), on=key, how="anti").group_by("record").len()
    return Counter(dict(found.collect(engine="streaming").iter_rows()))
