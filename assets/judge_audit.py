"""How reliable each judge is, and how much of its weight it keeps."""

import json
from typing import Any

import dagster as dg
import polars as pl

from rft_pipeline.store import Record

from .checks import judges_earn_their_weight
from .stage import Binding, Check
from .tables import markdown


def _metadata(record: Record) -> dict[str, Any]:
    audited = json.loads(record.path("judge_audit.json").read_text(encoding="utf-8"))
    table = pl.DataFrame(
        [
            {
                "criterion": each["criterion"],
                "verdict": each["power"],
                "by anchors alone": each["from_people"]["before"]["power"] if each["from_people"] else each["power"],
                "weight kept": each["weight"],
                "Youden J": each["youden_j"]["mean"],
                "AUC": each["auc"]["mean"],
                "why": each["reason"],
            }
            for each in audited
        ]
    )
    return {"verdicts": markdown(table), "page": dg.MetadataValue.path(str(record.path("judge_audit.html")))}


BINDING = Binding(
    stage="judge_audit",
    kinds=frozenset({"pytorch", "scikitlearn"}),
    metadata=_metadata,
    checks=(
        Check(
            "judges_earn_their_weight",
            "Every judge separates good from bad replies well enough to train.",
            judges_earn_their_weight,
            blocking=lambda campaign: campaign.audit is not None and campaign.audit.blocking,
        ),
    ),
)
