"""Row tables in Delta Lake: every rollout and every judgement, appended while a stage works.

A row's key is known before the row is made, so what a killed run left is found again by an anti-join. Keys are content
addresses: two campaigns that need the same row share it.
"""

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

import polars as pl
from deltalake import DeltaTable, WriterProperties, write_deltalake
from filelock import FileLock, Timeout

from rft_pipeline.fingerprint import fingerprint

ROLLOUTS = pl.Schema(
    [
        ("rollout_id", pl.String()),
        ("policy", pl.String()),
        ("prompt_id", pl.String()),
        ("sampling", pl.String()),
        ("sample_index", pl.Int64()),
        ("prompt_tokens", pl.List(pl.Int64())),
        ("tokens", pl.List(pl.Int64())),
        ("logprobs", pl.List(pl.Float64())),
        ("completion", pl.String()),
        ("finish_reason", pl.String()),
    ]
)
JUDGEMENTS = pl.Schema(
    [
        ("judgement_id", pl.String()),
        ("criterion", pl.String()),
        ("judge", pl.String()),
        ("subject", pl.String()),
        ("score", pl.Float64()),
        ("status", pl.String()),
        ("raw", pl.String()),
        ("reason", pl.String()),
        ("tokens", pl.Int64()),
        ("tokens_out", pl.Int64()),
        ("cost", pl.Float64()),
        ("details", pl.String()),
    ]
)
"""`details` is a JSON object with the numbers that a judge that compares found; null where there are none."""
LABELS = pl.Schema(
    [
        ("label_id", pl.String()),
        ("rollout_id", pl.String()),
        ("prompt_id", pl.String()),
        ("criterion", pl.String()),
        ("value", pl.Float64()),
        ("annotator", pl.String()),
        ("note", pl.String()),
        ("split", pl.String()),
        ("inclusion", pl.Float64()),
        ("batch", pl.String()),
        ("created", pl.String()),
    ]
)
"""What people said. `criterion` is its name, `split` calibration or audit, `inclusion` the probability with which the
export `batch` drew the rollout."""

SMALL_FILES = 32
"""Files below half of `FILE_BYTES` that one partition may hold before `tidy` merges them."""
FILE_BYTES = 32 * 2**20
"""About the size of a merged file."""
KEPT_HOURS = 1
"""How long a file that was merged away stays for those who have begun to read it."""
LOG = {
    "delta.logRetentionDuration": "interval 1 days",
    "delta.deletedFileRetentionDuration": f"interval {KEPT_HOURS} hours",
}
"""A table's own history is not kept for long: rows are only ever added."""


def rollout_id(policy: str, prompt_id: str, sampling: str, sample_index: int) -> str:
    """The address of a rollout, known before it is sampled."""
    return fingerprint([policy, prompt_id, sampling, sample_index])


def judgement_id(criterion: str, judge: str, subject: str) -> str:
    """The address of a judgement: what is asked, who answers, what is shown."""
    return fingerprint([criterion, judge, subject])


def label_id(rollout_id: str, criterion: str, annotator: str) -> str:
    """The address of a label: what somebody says of one thing; saying it again replaces it."""
    return fingerprint([rollout_id, criterion, annotator])


def judged_by(criterion: str, judge: str) -> tuple[pl.Expr, pl.Expr]:
    """Narrows the judgements to those of one criterion by one judge."""
    return pl.col("criterion") == criterion, pl.col("judge") == judge


class Table:
    """One Delta table with a key column."""

    def __init__(self, path: Path | str, schema: pl.Schema, key: str, partition_by: list[str] | None = None) -> None:
        self.path = str(path)
        self.schema = schema
        self.key = key
        self.partition_by = partition_by

    def append(self, rows: pl.DataFrame) -> None:
        """Append rows in one commit, whoever else appends. Raises `polars` schema errors for rows of another shape."""
        shaped = rows.select(self.schema.names()).cast(self.schema)
        if self._exists():
            self._write(shaped)
            return
        with self._lock():  # one maker at a time: Delta refuses an append beside a commit that makes the table
            self._write(shaped)

    def upsert(self, rows: pl.DataFrame) -> None:
        """Add rows in one commit, one upsert at a time; a key that is there, once or twice, gets the new row. Of rows
        with one key the last counts."""
        shaped = rows.select(self.schema.names()).cast(self.schema).unique(self.key, keep="last", maintain_order=True)
        with self._lock():  # whoever decides what is there must be the only one to change it
            if not self._exists():
                self._write(shaped)
            elif shaped.height:
                keys = ", ".join(f"'{key}'" for key in shaped[self.key])
                write_deltalake(self.path, shaped, mode="overwrite", predicate=f"{self.key} IN ({keys})")

    def rows(self, *where: pl.Expr) -> pl.LazyFrame:
        """The rows for which all of `where` hold; each key once."""
        return self.scan(*where).unique(self.key, keep="any")

    def doubled(self) -> pl.DataFrame:
        """The keys that stand more than once, and how often: columns key and len."""
        keys = self.scan().group_by(self.key).len()
        return keys.filter(pl.col("len") > 1).collect(engine="streaming")

    def missing(self, wanted: pl.DataFrame, *where: pl.Expr) -> pl.DataFrame:
        """The rows of `wanted` whose key the table lacks, in order; `where` narrows the table to be searched."""
        have = self.scan(*where, self._is_wanted(wanted)).select(self.key).collect(engine="streaming")
        return wanted.join(have, on=self.key, how="anti", maintain_order="left")

    def read(self, wanted: pl.DataFrame, *where: pl.Expr) -> pl.DataFrame:
        """The table's rows for the keys of `wanted`, in order; keys it lacks are left out.

        A file's lists are decoded for all its rows or for none, so the keys tell first which files are needed.
        """
        if not self._exists():
            return wanted.select(self.key).join(pl.DataFrame(schema=self.schema), on=self.key)
        narrowed = (*where, self._is_wanted(wanted))
        keys = self._scan_files(self.files()).filter(*narrowed)
        files = keys.select(pl.col("file").unique()).collect(engine="streaming")["file"].to_list()
        rows = self._scan_files(files).filter(*narrowed).drop("file").unique(self.key, keep="any")
        found = rows.collect(engine="streaming")
        return wanted.select(self.key).join(found, on=self.key, how="inner", maintain_order="left")

    def tidy(self) -> int:
        """Merge the small files that appends leave, once they are many; returns how many were merged.

        Rows stay as they are, and others may append and read meanwhile: a file that was merged away stays for an hour.
        Nothing is done while another process does it.
        """
        if not self._exists():
            return 0
        try:
            with self._lock(blocking=False):
                return self._merge(DeltaTable(self.path))
        except Timeout:
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

    def _lock(self, *, blocking: bool = True) -> FileLock:
        return FileLock(f"{self.path}.lock", blocking=blocking)

    def _exists(self) -> bool:
        return bool(DeltaTable.is_deltatable(self.path))

    def _write(self, rows: pl.DataFrame) -> None:
        write_deltalake(
            self.path, rows, mode="append", schema_mode="merge", partition_by=self.partition_by, configuration=LOG
        )

    def scan(self, *where: pl.Expr) -> pl.LazyFrame:
        """Rows as they were appended: a key may come twice."""
        return self._scan_files(self.files() if self._exists() else []).drop("file").filter(*where)

    def files(self) -> list[Path]:
        """The table's files. `DeltaTable.file_uris` and `pl.scan_delta` percent-encode the folder of the table."""
        added = pl.DataFrame(DeltaTable(self.path).get_add_actions())["path"]
        return [Path(self.path) / unquote(path) for path in added]

    def _scan_files(self, files: Sequence[Path | str]) -> pl.LazyFrame:
        """The rows of some files of the table, and the `file` each lies in."""
        if not files:
            return pl.LazyFrame(schema={**self.schema, "file": pl.String})
        folders = {name: self.schema[name] for name in self.partition_by or ()}
        # Polars takes every folder `name=value` above a file for a partition, those above the table too.
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
