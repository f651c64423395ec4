"""The resource of all assets: the pipeline of this machine's home."""

import dagster as dg

from rft_pipeline.campaign import load_campaign
from rft_pipeline.campaign.cycles import cycle_of, load_current
from rft_pipeline.errors import StoreError
from rft_pipeline.pipeline import Pipeline
from rft_pipeline.pipeline.continuing import load_and_begin
from rft_pipeline.pipeline.plan import settle
from rft_pipeline.pipeline.sources import source_hashes
from rft_pipeline.runs.orphans import end_with_parent
from rft_pipeline.stages import STAGES, Node
from rft_pipeline.stages.graph import made_together
from rft_pipeline.store import Home, Record, RecordStore


class StageRunner(dg.ConfigurableResource[None]):
    """Runs stages; reads the campaign again for each, so an edit needs no reload."""

    def run(self, campaign: str, here: Node, run_id: str, *, decided: bool) -> dict[str, Record]:
        """The records, by name, of a stage and those that are made together with it.

        `decided` says that whoever started the run has decided what it makes. Else a stage that trains begins the edit
        cycle that an edit asks for, and stages that `rft plan` would not run keep what they have. Rounds that an edit
        cycle does not have keep what they have too. Raises `RftError`.
        """
        end_with_parent()
        home = Home.find()
        pipeline, current = Pipeline(home), load_current(home, campaign)
        if not decided and STAGES[here.stage].in_generations:
            begun = load_and_begin(home, campaign)
            if begun != current:
                for source in ("prompts", "policy"):
                    pipeline.run(begun, source, run_id)
            current = begun
        if here.round > current.rounds and STAGES[here.stage].scope != "end":
            kept = self._kept(campaign, here)
            if kept is None:
                raise StoreError(
                    f"{here.key}: the current cycle is an edit cycle, which has one round; this one was never made"
                )
            return kept
        if not decided and here.round:
            settled = settle(current, pipeline.records, source_hashes(current, home, fetch=True))
            if here.key not in settled.keys and (kept := self._kept(campaign, here)) is not None:
                return kept
        return pipeline.run_together(current, here.name, run_id)

    def _kept(self, campaign: str, here: Node) -> dict[str, Record] | None:
        """The current records of a stage and those that are made together with it; None unless there are all."""
        home = Home.find()
        as_written = made_together(load_campaign(home.campaign_folder(campaign)), here)
        records = {each.name: RecordStore(home.store).current(each.key) for each in as_written}
        found = {name: record for name, record in records.items() if record is not None}
        return found if len(found) == len(records) else None

    def run_tags(self, campaign: str) -> dict[str, str]:
        """The tags of a run of the campaign: the campaign, and its newest cycle."""
        home = Home.find()
        cycle = cycle_of(load_campaign(home.campaign_folder(campaign)), home)
        return {"rft/campaign": campaign, **({} if cycle is None else cycle.tags)}
