"""The campaign's rubric; a separate asset, so that Dagster shows an edit as the cause of stale assets."""

import json
from typing import Any

import polars as pl

from rft_pipeline.store import Record

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


BINDING = Binding(
    stage="rubric",
    kinds=frozenset({"yaml"}),
    metadata=_metadata,
)
