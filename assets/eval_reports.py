"""Base and every round so far on held-out prompts."""

from typing import Any

import dagster as dg

from rft_pipeline.store import Record

from .checks import replies_finish, rounds_gain_is_real
from .stage import Binding, Check
from .tables import picture


def _metadata(record: Record) -> dict[str, Any]:
    pictures = {path.stem: picture(path) for path in sorted(record.folder.glob("*.png"))}
    return {"report": dg.MetadataValue.path(str(record.path("report.html"))), **pictures}


BINDING = Binding(
    stage="eval_reports",
    kinds=frozenset({"pytorch", "huggingface", "altair"}),
    metadata=_metadata,
    checks=(
        Check("truncation_share", "Few enough replies are cut off by the token budget.", replies_finish),
        Check(
            "alarms",
            "The round's gain also holds for judges that do not train.",
            rounds_gain_is_real,
            applies=lambda campaign: campaign.alarms is not None,
        ),
    ),
)
