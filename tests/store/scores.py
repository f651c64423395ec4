"""A small table of scores, partitioned by kind."""

from pathlib import Path

import polars as pl

from rft_pipeline.store.tables import Table

SCHEMA = pl.Schema({"id": pl.String, "kind": pl.String, "score": pl.Float64})


def rows(*ids: str, kind: str = "a", score: float | None = 0.5) -> pl.DataFrame:
    return pl.DataFrame([{"id": each, "kind": kind, "score": score} for each in ids], schema=SCHEMA)


def keys(*ids: str) -> pl.DataFrame:
    return pl.DataFrame({"id": list(ids), "place": range(len(ids))}, schema={"id": pl.String, "place": pl.Int64})


def scores_at(path: Path | str) -> Table:
    return Table(path, SCHEMA, key="id", partition_by=["kind"])
