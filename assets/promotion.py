"""Which round becomes the champion."""

import json
from typing import Any

import dagster as dg
import polars as pl

from rft_pipeline.store import Record

from .checks import a_round_is_promoted
from .stage import Binding, Check
from .tables import markdown, picture


def _metadata(record: Record) -> dict[str, Any]:
    decided = json.loads(record.path("promotion.json").read_text(encoding="utf-8"))
    table = pl.DataFrame(
        [
            {
                "round": each["round"],
                "bound": bound["name"],
                "found": bound["found"],
                "needed": bound["needed"],
                "passed": "yes" if bound["passed"] else "no",
                "in words": bound["said"],
            }
            for each in decided["rounds"]
            for bound in each["bounds"]
        ],
        infer_schema_length=None,
    )
    pictures = {path.stem: picture(path) for path in sorted(record.folder.glob("*.png"))}
    return {
        "decision": decided["said"],
        "compared with": decided["champion"],
        "bounds": markdown(table),
        "page": dg.MetadataValue.path(str(record.path("promotion.html"))),
        **pictures,
    }


BINDING = Binding(
    stage="promotion",
    kinds=frozenset({"polars", "mlflow", "altair"}),
    metadata=_metadata,
    checks=(Check("promoted", "A round passed every bound and is the champion.", a_round_is_promoted),),
)
