"""Row tables in Delta Lake: rollouts, judgements and labels, appended while a stage runs.

A row's key is known before the row is computed, so an anti-join finds the rows of a killed run. Keys are content
addresses: campaigns share equal rows.
"""

from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from urllib.parse import unquote

import polars as pl
from deltalake import DeltaTable, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError
from filelock import Timeout

from rft_pipeline.store.lease import require_leases
from rft_pipeline.store.lock import alone
from rft_pipeline.store.rows import JUDGEMENTS, LABELS, PREFERENCES, ROLLOUTS
from rft_pipeline.store.shared import shared_by

SMALL_FILES = 32
"""Number of files below half of `FILE_BYTES` per partition above which `tidy` merges them."""
FILE_BYTES = 32 * 2**20
"""Approximate size of a merged file."""
KEPT_HOURS = 1
"""How long a file is kept for readers after it was merged."""
LOG = {
    "delta.logRetentionDuration": "interval 1 days",
    "delta.deletedFileRetentionDuration": f"interval {KEPT_HOURS} hours",
}
"""A table's history is kept only briefly, because rows are only added."""


class Table:
    """One Delta table with a key column. It may be used from several threads."""

    def __init__(self, path: Path | str, schema: pl.Schema, key: str, partition_by: list[str] | None = None) -> None:
        self.path = str(path)
        self._shared = shared_by(Path(path))
        self.address = self.path if self._shared is None else f"{self._shared.url}/{self._shared.name(Path(path))}"
        """Where its rows and its log are: `path`, or an address in the bucket that `path` copies."""
        self.schema = schema
        self.key = key
        self.partition_by = partition_by
        self._opened: DeltaTable | None = None
        self._opening = Lock()

    def append(self, rows: pl.DataFrame) -> None:
        """Append rows in one commit, also while others append. Raises polars schema errors for other columns."""
        shaped = rows.select(self.schema.names()).cast(self.schema)
        if self.exists():
            self._write(shaped)
            return
        with alone(Path(self.path)):  # Delta refuses an append concurrent with the commit that creates the table
            self._write(shaped)

    def upsert(self, rows: pl.DataFrame) -> None:
        """Add rows in one commit, and replace rows with the same keys. Of new rows with equal keys, the last counts."""
        shaped = rows.select(self.schema.names()).cast(self.schema).unique(self.key, keep="last", maintain_order=True)
        with alone(Path(self.path)):  # only one process may compare and change the table
            if not self.exists():
                self._write(shaped)
            elif shaped.height:
                require_leases()
                keys = ", ".join(f"'{key}'" for key in shaped[self.key])
                with self._opening:
                    write_deltalake(self._newest(), shaped, mode="overwrite", predicate=f"{self.key} IN ({keys})")

    def rows(self, *where: pl.Expr) -> pl.LazyFrame:
        """The rows that satisfy all of `where`; each key once."""
        return self.scan(*where).unique(self.key, keep="any")

    def doubled(self) -> pl.DataFrame:
        """The keys that occur more than once: columns key and len. Equal keys are in one partition, and only one
        partition's keys are in memory."""
        found = [pl.DataFrame(schema={self.key: pl.String, "len": pl.UInt32})]
        rows, columns = self.scan(), self.partition_by or []
        for part in rows.select(columns).unique().collect().iter_rows(named=True) if columns else [{}]:
            keys = rows.filter(**part).group_by(self.key).len()
            found.append(keys.filter(pl.col("len") > 1).collect(engine="streaming"))
        return pl.concat(found)

    def missing(self, wanted: pl.DataFrame, *where: pl.Expr) -> pl.DataFrame:
        """The rows of `wanted` whose key is not in the table, in order; `where` narrows the search."""
        have = self.scan(*where, self._is_wanted(wanted)).select(self.key).collect(engine="streaming")
        return wanted.join(have, on=self.key, how="anti", maintain_order="left")

    def read(self, wanted: pl.DataFrame, *where: pl.Expr) -> pl.DataFrame:
        """The table's rows for the keys of `wanted`, in order, without missing keys.

        List columns are decoded for all rows of a file or for none, so the keys are read first to find the files.
        """
        if not self.exists():
            return wanted.select(self.key).join(pl.DataFrame(schema=self.schema), on=self.key)
        narrowed = (*where, self._is_wanted(wanted))
        keys = self._scan_files(self.files()).filter(*narrowed)
        files = keys.select(pl.col("file").unique()).collect(engine="streaming")["file"].to_list()
        rows = self._scan_files(files).filter(*narrowed).drop("file").unique(self.key, keep="any")
        found = rows.collect(engine="streaming")
        return wanted.select(self.key).join(found, on=self.key, how="inner", maintain_order="left")

    def tidy(self) -> int:
        """Merge small files if there are many; returns how many were merged.

        Rows do not change, and other processes may append and read at the same time, since merged files are kept for an
        hour. Does nothing while another process merges, or if others append so fast that its commit never comes first.
        """
        if not self.exists():
            return 0
        try:
            with alone(Path(self.path), wait=False), self._opening:
                return self._merge(self._newest())
        except (Timeout, CommitFailedError):
            return 0

    def _merge(self, table: DeltaTable) -> int:
        columns = table.metadata().partition_columns
        sizes = pl.DataFrame(table.get_add_actions(flatten=True))
        small = sizes.filter(pl.col("size_bytes") < FILE_BYTES / 2).group_by(
            [pl.col(f"partition.{name}") for name in columns] or pl.lit("whole table")
        )
        merged = 0
        for values, files in small:
            if files.height > SMALL_FILES:
                where = [(name, "=", value) for name, value in zip(columns, values, strict=False)]
                done = table.optimize.compact(
                    where or None, target_size=FILE_BYTES, writer_properties=WriterProperties(compression="ZSTD")
                )
                merged += done["numFilesRemoved"]
        if merged:
            table.vacuum(KEPT_HOURS, dry_run=False, enforce_retention_duration=False)
        return merged

    def exists(self) -> bool:
        """Whether rows were ever appended."""
        return bool(DeltaTable.is_deltatable(self.address))

    def delta(self) -> DeltaTable:
        """The table's log as it is now."""
        return DeltaTable(self.address)

    def _newest(self) -> DeltaTable:
        """The newest version, opened once: that reads all commits, while an update reads those that came since. Hold
        `_opening` while the result is used: an update by another thread must not come in between."""
        if self._opened is None:
            self._opened = self.delta()
        else:
            self._opened.update_incremental()
        return self._opened

    def _write(self, rows: pl.DataFrame) -> None:
        require_leases()
        with self._opening:
            write_deltalake(
                self._newest() if self.exists() else self.address,
                rows,
                mode="append",
                schema_mode="merge",
                partition_by=self.partition_by,
                configuration=LOG,
            )

    def scan(self, *where: pl.Expr) -> pl.LazyFrame:
        """Rows as appended: a key may occur twice."""
        return self._scan_files(self.files() if self.exists() else []).drop("file").filter(*where)

    def files(self) -> list[Path]:
        """The table's files; those in a bucket are fetched once. `DeltaTable.file_uris` and `pl.scan_delta`
        percent-encode the folder of the table."""
        with self._opening:
            added = pl.DataFrame(self._newest().get_add_actions())["path"]
        files = [Path(self.path) / unquote(path) for path in added]
        if self._shared is not None:
            self._shared.fetch_missing(files)
        return files

    def _scan_files(self, files: Sequence[Path | str]) -> pl.LazyFrame:
        """The rows of some files of the table, with the `file` of each row."""
        if not files:
            return pl.LazyFrame(schema={**self.schema, "file": pl.String})
        folders = {name: self.schema[name] for name in self.partition_by or ()}
        # Polars reads every folder `name=value` in the path as a partition, also above the table.
        others = {part.partition("=")[0]: pl.String() for part in Path(self.path).parts if "=" in part}
        rows = pl.scan_parquet(
            [str(file) for file in files],
            glob=False,
            hive_partitioning=bool(folders),
            hive_schema={**others, **folders} if folders else None,
            include_file_paths="file",
            schema={name: kind for name, kind in self.schema.items() if name not in folders},
            missing_columns="insert",
        )
        return rows.select(*self.schema, "file")

    def _is_wanted(self, wanted: pl.DataFrame) -> pl.Expr:
        return pl.col(self.key).is_in(wanted[self.key].implode())


def rollouts_table(store: Path) -> Table:
    return Table(store / "tables" / "rollouts", ROLLOUTS, key="rollout_id")


def judgements_table(store: Path) -> Table:
    return Table(store / "tables" / "judgements", JUDGEMENTS, key="judgement_id", partition_by=["criterion"])


def labels_table(store: Path) -> Table:
    return Table(store / "tables" / "labels", LABELS, key="label_id")


def preferences_table(store: Path) -> Table:
    return Table(store / "tables" / "preferences", PREFERENCES, key="preference_id")
