"""The resource of all assets: the pipeline of this machine's home."""

import dagster as dg

from rft_pipeline.campaign import load_campaign
from rft_pipeline.campaign.cycles import cycle_of, load_current
from rft_pipeline.pipeline import Pipeline
from rft_pipeline.runs.orphans import end_with_parent
from rft_pipeline.store import Home, Record


class StageRunner(dg.ConfigurableResource[None]):
    """Runs stages; reads the campaign again for each, so an edit needs no reload."""

    def run(self, campaign: str, name: str, run_id: str) -> dict[str, Record]:
        """The records, by name, of a stage and those that are made together with it. Raises `RftError`."""
        end_with_parent()
        home = Home.find()
        return Pipeline(home).run_together(load_current(home, campaign), name, run_id)

    def run_tags(self, campaign: str) -> dict[str, str]:
        """The tags of a run of the campaign: the campaign, and its newest cycle."""
        home = Home.find()
        cycle = cycle_of(load_campaign(home.campaign_folder(campaign)), home)
        return {"rft/campaign": campaign, **({} if cycle is None else cycle.tags)}

    def mlflow_page(self, record: Record) -> str:
        """The address of the record's MLflow run."""
        from rft_pipeline.pipeline.tracking import run_url

        return run_url(Home.find(), record.mlflow_run_id or "")
