"""The job of a campaign."""

from typing import Any

import dagster as dg

from rft_pipeline.campaign import Campaign
from rft_pipeline.runs.execute import EACH_STEP_A_PROCESS


def campaign_job(campaign: Campaign) -> Any:
    """Materializes all assets of a campaign. (Dagster does not export the type of an unresolved asset job.)"""
    return dg.define_asset_job(
        name=campaign.name,
        selection=dg.AssetSelection.key_prefixes(campaign.name),
        description=campaign.description,
        executor_def=dg.multi_or_in_process_executor,
        config=EACH_STEP_A_PROCESS,
        tags={"rft/campaign": campaign.name},
    )
