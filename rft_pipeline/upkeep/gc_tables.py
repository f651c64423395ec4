"""The part of gc for tables: unneeded rows, duplicate keys, small files, and unused files.

A judgement is needed while a kept record was made with its criterion and judge and contains the judged reply. Removing
one too many would only cost a judge call, since records contain their own scores.
"""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError

from rft_pipeline.campaign.addresses import JudgementKey
from rft_pipeline.errors import StoreError
from rft_pipeline.stages import stage_of
from rft_pipeline.stages.rows_used import short
from rft_pipeline.store import Record, RecordStore, Table, judgements_table, rollouts_table
from rft_pipeline.store.tables import KEPT_HOURS
from rft_pipeline.upkeep.reach import Reuse


@dataclass(frozen=True)
class Cleanup:
    """What can be removed from one table."""

    table: Table
    unneeded: pl.DataFrame
    """One column: the key."""
    doubled: pl.DataFrame
    """Kept keys with several rows: columns key and len."""
    expired: list[Path]
    """Files that no version of the last hour uses."""

    @property
    def doubled_rows(self) -> int:
        return int((self.doubled["len"] - 1).sum())


def unneeded_rows(store: Path, staying: list[Record], reused: Reuse) -> list[Cleanup]:
    """What can be removed from each table if these records stay. Raises `StoreError` for an unreadable table."""
    found = []
    for table, unneeded in ((rollouts_table(store), _rollouts), (judgements_table(store), _judgements)):
        if not Path(table.path).is_dir():
            continue
        try:
            keys = unneeded(table, store, staying, reused)
            doubled = table.doubled().join(keys, on=table.key, how="anti")
            found.append(Cleanup(table, keys, doubled, _expired(table)))
        except (DeltaError, pl.exceptions.PolarsError, OSError) as error:
            raise StoreError(f"{table.path}: cannot be read: {error}; `rft verify` says what to do") from error
    return found


def clean_tables(tables: list[Cleanup]) -> None:
    """Remove what was found and compact the rest into few files. Nobody else may write meanwhile."""
    for each in tables:
        table = each.table
        if each.expired:
            _vacuum(table, dry_run=False)
        if each.unneeded.height:
            same = f"rows.{table.key} = unneeded.{table.key}"
            DeltaTable(table.path).merge(
                each.unneeded, predicate=same, source_alias="unneeded", target_alias="rows"
            ).when_matched_delete().execute()
        if each.doubled.height:
            once = table.read(each.doubled.select(table.key)).select(table.schema.names())
            keys = ", ".join(f"'{key}'" for key in each.doubled[table.key])
            write_deltalake(table.path, once, mode="overwrite", predicate=f"{table.key} IN ({keys})")
        stored = DeltaTable(table.path)
        if len(table.files()) > max(1, len(stored.partitions())):
            stored.optimize.compact()
            DeltaTable(table.path).create_checkpoint()


def _rollouts(table: Table, store: Path, staying: list[Record], reused: Reuse) -> pl.DataFrame:
    in_records = pl.concat(
        [
            pl.DataFrame(schema={table.key: pl.UInt64}),
            *(stage_of(each).rollouts_in(each).select(short(table.key)) for each in staying),
        ]
    ).unique()
    reusable = pl.DataFrame(reused.rollouts, schema={"policy": pl.String, "sampling": pl.String}, orient="row").unique()
    rows = table.scan().select(table.key, "policy", "sampling")
    others = rows.join(reusable.lazy(), on=["policy", "sampling"], how="anti")
    kept = in_records.lazy()
    return _keys(table, others.join(kept, left_on=short(table.key), right_on=table.key, how="anti"))


def _judgements(table: Table, store: Path, staying: list[Record], reused: Reuse) -> pl.DataFrame:
    needed, unknown = _subjects(store, staying)
    rows = table.scan()
    found = [pl.DataFrame(schema={table.key: pl.String})]
    there = rows.select("criterion", "judge").unique().sort("criterion", "judge").collect(engine="streaming")
    for asked in (JudgementKey(*each) for each in there.iter_rows()):
        if asked not in reused.judgements and asked not in unknown:
            subjects = pl.concat([pl.DataFrame(schema={"subject": pl.UInt64}), *needed[asked]])
            here = rows.filter(criterion=asked.criterion, judge=asked.judge)
            others = here.join(subjects.lazy(), left_on=short("subject"), right_on="subject", how="anti")
            found.append(_keys(table, others))
    return pl.concat(found)


def _keys(table: Table, rows: pl.LazyFrame) -> pl.DataFrame:
    return rows.select(table.key).unique().collect(engine="streaming")


def _subjects(store: Path, staying: list[Record]) -> tuple[dict[JudgementKey, list[pl.DataFrame]], set[JudgementKey]]:
    """The judged subjects (`short`) of each criterion and judge, one table per record; and those whose subjects are
    unknown, because a record's replies are gone."""
    needed: dict[JudgementKey, list[pl.DataFrame]] = defaultdict(list)
    unknown = set()
    for record in staying:
        for asked, subjects in stage_of(record).judgements_in(record, RecordStore(store).at):
            if subjects is None:
                unknown.add(asked)
            else:
                needed[asked].append(subjects)
    return needed, unknown


def _expired(table: Table) -> list[Path]:
    return [Path(table.path) / name for name in _vacuum(table, dry_run=True)]


def _vacuum(table: Table, *, dry_run: bool) -> list[str]:
    """Files that no version of the last hour uses, including those that a killed writer did not commit."""
    stored = DeltaTable(table.path)
    files: list[str] = stored.vacuum(KEPT_HOURS, dry_run=dry_run, enforce_retention_duration=False, full=True)
    return files
