"""The runner: everything that is the same for every stage."""

import os
import shutil
import time
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime

from rft_pipeline import models
from rft_pipeline.campaign import Campaign
from rft_pipeline.errors import DataError, StoreError
from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.pipeline.champion import crown_decided, end_cycle
from rft_pipeline.pipeline.sources import source_hashes
from rft_pipeline.pipeline.tracking import Tracker
from rft_pipeline.pipeline.unchanged import refuse_changed_sources, refuse_other_weights
from rft_pipeline.progress import Progress, forget, progress_file
from rft_pipeline.promotion import looks
from rft_pipeline.stages.bodies import BODIES
from rft_pipeline.stages.graph import Node, chosen, node
from rft_pipeline.stages.job import Job
from rft_pipeline.stages.judge_engines import JudgeEngines
from rft_pipeline.stages.payloads import payload
from rft_pipeline.stages.promotion import PAGE
from rft_pipeline.store import Home, Record, RecordStore, judgements_table, rollouts_table

APPENDING = ("rollouts", "judge_scores", "eval_reports")
"""Stages that leave many small files in the row tables."""
PAGES = {"eval_reports": ("report.html", ".html"), "promotion": (PAGE, ".promotion.html")}
"""Stage → its page, and how the copy's name ends in the folder of reports."""


class Pipeline:
    """Runs stages of campaigns against one home."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.records = RecordStore(home.store)

    def run(self, campaign: Campaign, name: str, dagster_run_id: str | None = None) -> Record:
        """The record of stage `name`: found when it was made from the same things before, made otherwise.

        Files count as they are once nobody else makes the stage. Raises `StoreError` when an upstream stage has not
        run, `DataError` when a file changes while the stage is made, and whatever the stage raises; rows it made stay.
        """
        here = node(campaign, name)
        progress = Progress(here.name, progress_file(self.home.progress, here.key, dagster_run_id or str(os.getpid())))
        with closing(progress):
            with self.records.holding(here.key, dagster_run_id, progress.wait_for):
                forget(self.home.progress, here.key)
                sources = source_hashes(campaign, self.home, fetch=True)
                upstream = {role: self._upstream(campaign, here, role) for role in self._roles(campaign, here, sources)}
                made_from = payload(campaign, here, upstream, sources)
                tracker = Tracker(self.home, campaign, here, sources, dagster_run_id)
                found = self.records.find(here.key, fingerprint(made_from))
                if found is not None:
                    self.records.make_current(found)
                else:
                    found = self._make(campaign, here, upstream, sources, made_from, tracker, progress)
                if here.stage == "promotion":
                    looks.count(self.home.root, campaign.name, found.payload)
                    outcome = crown_decided(campaign, self.home, found)
                    end_cycle(campaign, self.home, found, outcome, sources["prompts.train"])
                    tracker.log_outcome(outcome.round_in_words, outcome.in_words)
            if here.stage in PAGES:
                self._publish(campaign, found, *PAGES[here.stage])
            return replace(found, mlflow_run_id=tracker.log_record(found))

    def _publish(self, campaign: Campaign, record: Record, page: str, ending: str) -> None:
        """The page in force, where a person finds it."""
        self.home.reports.mkdir(parents=True, exist_ok=True)
        page_file = self.home.reports / f"{campaign.name}{ending}"
        beside = page_file.with_name(f".{page_file.name}-{os.getpid()}")
        shutil.copy(record.path(page), beside)
        beside.replace(page_file)

    def _make(
        self,
        campaign: Campaign,
        here: Node,
        upstream: dict[str, Record],
        sources: dict[str, str],
        made_from: dict[str, object],
        tracker: Tracker,
        progress: Progress,
    ) -> Record:
        began = time.monotonic()
        with self.records.workdir(here.key) as workdir:
            with closing(JudgeEngines(campaign, self.home.models, sources)) as engines:
                kept = self.records.kept(here.key, fingerprint(made_from))
                job = Job(
                    campaign, here, upstream, sources, self.home, workdir, kept, progress, tracker.log_step, engines
                )
                refuse_other_weights(job)
                output = BODIES[here.stage](job)
            record = Record(
                key=here.key,
                fingerprint=fingerprint(made_from),
                payload=made_from,
                content_hash=output.content_hash,
                upstream={role: record.address for role, record in upstream.items()} | output.upstream,
                parts=output.parts,
                rows=output.rows,
                metrics=output.metrics,
                seconds=round(time.monotonic() - began, 3),
                spent=progress.spent,
                created=datetime.now(UTC).isoformat(timespec="seconds"),
                software=models.versions(),
                dagster_run_id=tracker.dagster_run_id,
                mlflow_run_id=tracker.run_id,
            )
            try:
                refuse_changed_sources(job)
            except DataError:
                shutil.rmtree(kept, ignore_errors=True)  # a training that goes on from it would go on from other files
                raise
            made = self.records.commit(record, workdir)
        if here.stage in APPENDING:
            for table in (rollouts_table(self.home.store), judgements_table(self.home.store)):
                table.tidy()
        return made

    def _roles(self, campaign: Campaign, here: Node, sources: dict[str, str]) -> list[str]:
        """The roles to fill: labels that nobody gave need not have been looked for."""
        nobody = "labels" not in sources and self.records.current(f"{campaign.name}/labels") is None
        return [role for role in here.upstream if not (nobody and role == "labels")]

    def _upstream(self, campaign: Campaign, here: Node, role: str) -> Record:
        above = here.upstream[role]
        record = self.records.current(f"{campaign.name}/{above}")
        if record is not None and role == "policy" and (weights := chosen(record)):
            above, record = weights, self.records.current(f"{campaign.name}/{weights}")
        if record is None:
            raise StoreError(f"{here.key} needs {campaign.name}/{above}, which has not run; run it first")
        return record
