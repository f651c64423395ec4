"""Store: records of stages, tables of rows, champions, locks and folders."""

from rft_pipeline.store.home import Home
from rft_pipeline.store.records import Record, RecordStore
from rft_pipeline.store.tables import Table, judgements_table, labels_table, preferences_table, rollouts_table

__all__ = [
    "Home",
    "Record",
    "RecordStore",
    "Table",
    "judgements_table",
    "labels_table",
    "preferences_table",
    "rollouts_table",
]
