"""A campaign's labels, as they stand in the table."""

from pathlib import Path

import polars as pl

from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.labels.exports import exports_of
from rft_pipeline.store import labels_table
from rft_pipeline.store.tables import LABELS

HELD_OUT_LABELS = "labels.held_out"
"""The source of what people said of replies to held-out prompts."""


def labels_of(campaign: str, store: Path, *, held_out: bool = False) -> pl.DataFrame:
    """Every label of a campaign's exports, ordered by its id, with the columns of `LABELS`.

    Those of replies to held-out prompts stand apart: only the promotion reads them, so that nothing is trained, or
    fitted, on what people say there.
    """
    ids = [export.id for export in exports_of(campaign, store) if export.held_out == held_out]
    if not ids:
        return LABELS.to_frame()
    return labels_table(store).rows(pl.col("batch").is_in(ids)).sort("label_id").collect()


def content_of(labels: pl.DataFrame) -> str:
    """A hash of what was said: not of notes, nor of when."""
    return fingerprint(labels.select("label_id", "value", "inclusion", "split").rows())
