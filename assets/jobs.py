"""The job of a campaign."""

from typing import Any

import dagster as dg

from rft_pipeline.campaign import Campaign
from rft_pipeline.pipeline.links import REPORTS
from rft_pipeline.report.markdown import plain
from rft_pipeline.report.published import AUDIT, PAGES
from rft_pipeline.runs.execute import EACH_STEP_A_PROCESS


def campaign_job(campaign: Campaign, executor: dg.ExecutorDefinition) -> Any:
    """Materializes all assets of a campaign. (Dagster does not export the type of an unresolved asset job.)"""
    return dg.define_asset_job(
        name=campaign.name,
        selection=dg.AssetSelection.key_prefixes(campaign.name),
        description=_description(campaign),
        executor_def=executor,
        config=EACH_STEP_A_PROCESS if executor is dg.multi_or_in_process_executor else None,
        tags={"rft/campaign": campaign.name},
    )


def _description(campaign: Campaign) -> str:
    """What the campaign is for, and its newest pages: what was decided, and why."""
    found = {suffix: title for suffix, title in PAGES.items() if suffix != AUDIT or campaign.audit is not None}
    links = " · ".join(f"[{title}]({REPORTS}/{campaign.name}{suffix})" for suffix, title in found.items())
    return f"{plain(campaign.description)}\n\n{links}"
