"""A few anchors of the copied campaign, as examples for one's own."""

import json
from pathlib import Path
from typing import Any

from rft_pipeline.campaign import Audit, Campaign
from rft_pipeline.campaign.copied import COMMENT, mark_of_row
from rft_pipeline.prompts.rows import jsonl_rows

ANCHORS = 4


def example_anchors(template: Campaign, anchors: Path, folder: Path, off: set[str]) -> str:
    """A few labelled replies of the copied campaign, each with a comment; returns what was decided."""
    rows = jsonl_rows(anchors, [])
    least = (template.audit or Audit()).min_per_side
    comment = mark_of_row(template.name, f"label {least} good and {least} bad replies to your own prompts like this")
    examples = []
    for row in rows[:ANCHORS]:
        labels = row.values.get("labels")
        kept = {name: label for name, label in (labels or {}).items() if name not in off}
        examples.append({COMMENT: comment, **row.values, "labels": kept})
    write_rows(folder / "anchors.jsonl", examples)
    return (
        f"anchors.jsonl: {len(examples)} of the {len(rows)} anchors of {template.name}, as examples; anchors and audit "
        "are switched off until you label replies of your own"
    )


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
