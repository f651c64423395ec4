"""A campaign's labels, as they stand in the table."""

from pathlib import Path

import polars as pl

from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.labels.exports import exports_of
from rft_pipeline.store import labels_table
from rft_pipeline.store.tables import LABELS


def labels_of(campaign: str, store: Path) -> pl.DataFrame:
    """Every label of a campaign's exports, ordered by its id, with the columns of `LABELS`."""
    ids = [export.id for export in exports_of(campaign, store)]
    if not ids:
        return LABELS.to_frame()
    return labels_table(store).rows(pl.col("batch").is_in(ids)).sort("label_id").collect()


def content_of(labels: pl.DataFrame) -> str:
    """A hash of what was said: not of notes, nor of when."""
    return fingerprint(labels.select("label_id", "value", "inclusion", "split").rows())
