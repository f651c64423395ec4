"""What is kept: records of stages, and tables of rows."""

from rft_pipeline.store.home import Home
from rft_pipeline.store.records import Record, RecordStore
from rft_pipeline.store.tables import Table, judgements_table, labels_table, rollouts_table

__all__ = ["Home", "Record", "RecordStore", "Table", "judgements_table", "labels_table", "rollouts_table"]
