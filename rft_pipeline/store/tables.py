"""Row tables in Delta Lake: every rollout and every judgement, appended while a stage works.

A row's key is known before the row is made, so what a killed run left is found again by an anti-join. Keys are content
addresses: two campaigns that need the same row share it.
"""

from pathlib import Path

import polars as pl
from deltalake import DeltaTable, write_deltalake

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
    ]
)


def rollout_id(policy: str, prompt_id: str, sampling: str, sample_index: int) -> str:
    """The address of a rollout, known before it is sampled."""
    return fingerprint([policy, prompt_id, sampling, sample_index])


def judgement_id(criterion: str, judge: str, subject: str) -> str:
    """The address of a judgement: what is asked, who answers, what is shown."""
    return fingerprint([criterion, judge, subject])


class Table:
    """One Delta table with a key column."""

    def __init__(self, path: Path | str, schema: pl.Schema, key: str, partition_by: list[str] | None = None) -> None:
        self.path = str(path)
        self.schema = schema
        self.key = key
        self.partition_by = partition_by

    def append(self, rows: pl.DataFrame) -> None:
        """Append rows in one commit. Raises `polars` schema errors for rows of another shape."""
        shaped = rows.select(self.schema.names()).cast(self.schema)
        write_deltalake(self.path, shaped, mode="append", partition_by=self.partition_by)

    def rows(self, *where: pl.Expr) -> pl.LazyFrame:
        """The rows for which all of `where` hold; each key once."""
        if not DeltaTable.is_deltatable(self.path):
            return pl.LazyFrame(schema=self.schema)
        return pl.scan_delta(self.path).filter(*where).unique(self.key, keep="any")

    def missing(self, wanted: pl.DataFrame, *where: pl.Expr) -> pl.DataFrame:
        """The rows of `wanted` whose key the table lacks, in order; `where` narrows the table to be searched."""
        have = self.rows(*where).select(self.key).collect()
        return wanted.join(have, on=self.key, how="anti", maintain_order="left")

    def read(self, wanted: pl.DataFrame, *where: pl.Expr) -> pl.DataFrame:
        """The table's rows for the keys of `wanted`, in order; keys it lacks are left out."""
        found = self.rows(*where).filter(pl.col(self.key).is_in(wanted[self.key].implode())).collect()
        return wanted.select(self.key).join(found, on=self.key, how="inner", maintain_order="left")


def rollouts_table(store: Path) -> Table:
    return Table(store / "tables" / "rollouts", ROLLOUTS, key="rollout_id")


def judgements_table(store: Path) -> Table:
    return Table(store / "tables" / "judgements", JUDGEMENTS, key="judgement_id", partition_by=["criterion"])
