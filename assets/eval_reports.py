"""Base and every round so far on held-out prompts."""

from typing import Any

import dagster as dg

from rft_pipeline.campaign import Campaign
from rft_pipeline.store import Record

from .checks import replies_finish, rounds_gain_is_real
from .stage import ACCELERATOR, check_spec, stage_asset
from .tables import picture


def eval_reports(campaign: Campaign, round_: int) -> dg.AssetsDefinition:
    name = f"round_{round_}/eval_reports"
    truncation = check_spec(campaign, name, "truncation_share", "Few enough replies are cut off by the token budget.")
    checks = [(truncation, replies_finish)]
    if campaign.alarms is not None:
        sound = check_spec(campaign, name, "alarms", "The round's gain holds before judges that do not train.")
        checks.append((sound, rounds_gain_is_real))
    return stage_asset(
        campaign,
        name,
        description="Held-out reward of base and every round, by criterion, with intervals; the report page.",
        kinds={"pytorch", "huggingface", "altair"},
        metadata=_metadata,
        checks=checks,
        pool=ACCELERATOR,
    )


def _metadata(record: Record) -> dict[str, Any]:
    pictures = {path.stem: picture(path) for path in sorted(record.folder.glob("*.png"))}
    return {"report": dg.MetadataValue.path(str(record.path("report.html"))), **pictures}
