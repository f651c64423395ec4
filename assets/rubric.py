"""The campaign's rubric; a separate asset, so that Dagster shows an edit as the cause of stale assets."""

import json
from typing import Any

import polars as pl

from rft_pipeline.report.markdown import plain
from rft_pipeline.store import Home, Record, RecordStore

from .stage import Binding
from .tables import markdown


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
    """The number of criteria, and what changed since the record before, if this one was made now."""
    from rft_pipeline.lineage.diff.records import compare_records

    count = f"**{record.rows['criteria']} criteria.**"
    if record.cached:
        return count
    records = RecordStore(Home.find().store)
    before = [each for each in records.all(record.key) if each.fingerprint != record.fingerprint]
    if not before:
        return count
    changed = compare_records(records, before[-1], record).differences
    since = f"{count} Changed since {before[-1].address}:"
    return "\n".join([since, "", *(f"- {plain(each)}" for each in changed)])


BINDING = Binding(
    stage="rubric",
    kind="yaml",
    summary=_summary,
    metadata=_metadata,
)
