"""Which round becomes the champion."""

import json
from typing import Any

import dagster as dg
import polars as pl

from rft_pipeline.campaign import Campaign
from rft_pipeline.store import Record

from .checks import a_round_is_promoted
from .stage import ACCELERATOR, check_spec, stage_asset
from .tables import markdown, picture


def promotion(campaign: Campaign) -> dg.AssetsDefinition:
    promoted = check_spec(campaign, "promotion", "promoted", "A round passed every bound and is the champion.")
    return stage_asset(
        campaign,
        "promotion",
        description="Every round against the champion on held-out prompts; of those that pass, the best lower bound.",
        kinds={"polars", "mlflow", "altair"},
        metadata=_metadata,
        checks=[(promoted, a_round_is_promoted)],
        pool=ACCELERATOR,
    )


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
