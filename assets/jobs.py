"""One job a campaign."""

from typing import Any

import dagster as dg

from rft_pipeline.campaign import Campaign

PRELOADED = ["torch", "transformers", "mlflow", "rft_pipeline.engines.transformers", "rft_pipeline.trainers.methods"]
"""Imported once into the server each step is forked from: a step frees its memory by ending, yet starts at once."""

EACH_STEP_A_PROCESS: dict[str, Any] = {
    "execution": {
        "config": {
            "multiprocess": {"max_concurrent": 2, "start_method": {"forkserver": {"preload_modules": PRELOADED}}}
        }
    }
}
ALL_IN_ONE_PROCESS: dict[str, Any] = {"execution": {"config": {"in_process": {}}}}
"""For a run in which every stage is cached: nothing is loaded, so nothing has to be freed."""


def campaign_job(campaign: Campaign) -> Any:
    """Materializes everything of a campaign. (Dagster does not export the type of an unresolved asset job.)"""
    return dg.define_asset_job(
        name=campaign.name,
        selection=dg.AssetSelection.key_prefixes(campaign.name),
        description=campaign.description,
        executor_def=dg.multi_or_in_process_executor,
        config=EACH_STEP_A_PROCESS,
        tags={"rft/campaign": campaign.name},
    )
