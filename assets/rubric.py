"""The campaign's rubric; a separate asset, so that Dagster shows an edit as the cause of stale assets."""

import json
from typing import Any

import polars as pl

from rft_pipeline.report.markdown import plain
from rft_pipeline.store import Home, Record, RecordStore

from .stage import Binding
from .tables import markdown

MOST_CHANGES = 6
"""Changes that the summary names."""


def _metadata(record: Record) -> dict[str, Any]:
    criteria = json.loads(record.path("rubric.json").read_text(encoding="utf-8"))["criteria"]
    table = pl.DataFrame(
        [
            {
                "criterion": each["name"],
                "decided by": each["judge"]["protocol"],
                "weight": each["weight"],
                "gate": "" if each["gate"] is None else str(each["gate"]),
                "meaning": each["description"],
            }
            for each in criteria
        ]
    )
    return {"criteria": markdown(table)}


def _summary(record: Record) -> str:
    """The number of criteria, and what changed since the record before."""
    from rft_pipeline.lineage.diff.records import compare_records

    records = RecordStore(Home.find().store)
    made = records.all(record.key)
    before = [each for each in made if each.fingerprint != record.fingerprint and each.created < record.created]
    count = f"**{record.rows['criteria']} criteria.**"
    if not before:
        return count
    changed = compare_records(records, before[-1], record).differences
    return "\n".join([f"{count} Changed:", "", *(f"- {plain(each)}" for each in changed[:MOST_CHANGES])])


BINDING = Binding(
    stage="rubric",
    kind="yaml",
    summary=_summary,
    metadata=_metadata,
)
