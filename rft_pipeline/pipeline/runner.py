"""The runner: everything that is the same for all stages."""

import os
import shutil
import time
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime

from rft_pipeline import models
from rft_pipeline.campaign import Campaign
from rft_pipeline.errors import DataError, StoreError
from rft_pipeline.files import replace_text
from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.pipeline.champion import apply_decision, end_cycle
from rft_pipeline.pipeline.sources import source_hashes
from rft_pipeline.pipeline.tracking import Tracker
from rft_pipeline.pipeline.unchanged import refuse_changed_sources, refuse_other_weights
from rft_pipeline.progress import Progress, forget, progress_file
from rft_pipeline.promotion import looks
from rft_pipeline.stages import STAGES
from rft_pipeline.stages.base import Node, Payload
from rft_pipeline.stages.graph import node, payload, resolve
from rft_pipeline.stages.job import Job
from rft_pipeline.stages.judge_engines import JudgeEngines
from rft_pipeline.store import Home, Record, RecordStore, judgements_table, rollouts_table


class Pipeline:
    """Runs stages of campaigns against one home."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.records = RecordStore(home.store)

    def run(self, campaign: Campaign, name: str, dagster_run_id: str | None = None) -> Record:
        """The record of stage `name`: the existing one of the same fingerprint, else a new one.

        Files are read once no other process runs the stage. Raises `StoreError` when an upstream stage has not run,
        `DataError` when a file changes while the stage runs, and the stage's own errors; rows that it made stay.
        """
        here = node(campaign, name)
        progress = Progress(here.name, progress_file(self.home.progress, here.key, dagster_run_id or str(os.getpid())))
        with closing(progress):
            with self.records.holding(here.key, dagster_run_id, progress.wait_for):
                forget(self.home.progress, here.key)
                sources = source_hashes(campaign, self.home, fetch=True)
                upstream = self._upstream(here, sources)
                made_from = payload(campaign, here, upstream, sources)
                tracker = Tracker(self.home, campaign, here, sources, dagster_run_id)
                found = self.records.find(here.key, fingerprint(made_from))
                if found is not None:
                    self.records.make_current(found)
                else:
                    found = self._make(campaign, here, upstream, sources, made_from, tracker, progress)
                if here.stage == "promotion":
                    looks.count(self.home.root, campaign.name, found.payload)
                    outcome = apply_decision(campaign, self.home, found)
                    end_cycle(campaign, self.home, found, outcome, sources["prompts.train"])
                    tracker.log_outcome(outcome.round_name, outcome.summary)
            self._publish(here, found)
            return replace(found, mlflow_run_id=tracker.log_record(found))

    def _publish(self, here: Node, record: Record) -> None:
        """Copy the stage's page, if it has one, to the folder of reports."""
        page = STAGES[here.stage].page
        if page is None:
            return
        file, ending = page
        self.home.reports.mkdir(parents=True, exist_ok=True)
        text = record.path(file).read_text(encoding="utf-8")
        replace_text(self.home.reports / f"{here.campaign}{ending}", text)

    def _make(
        self,
        campaign: Campaign,
        here: Node,
        upstream: dict[str, Record],
        sources: dict[str, str],
        made_from: Payload,
        tracker: Tracker,
        progress: Progress,
    ) -> Record:
        began = time.monotonic()
        stage, name = STAGES[here.stage], fingerprint(made_from)
        with self.records.workdir(here.key) as workdir:
            with closing(JudgeEngines(campaign, self.home.models, sources)) as engines:
                job = Job(
                    campaign=campaign,
                    node=here,
                    upstream=upstream,
                    sources=sources,
                    made_from=made_from,
                    home=self.home,
                    workdir=workdir,
                    kept=self.records.kept(here.key, name),
                    progress=progress,
                    log_step=tracker.log_step,
                    engines=engines,
                )
                refuse_other_weights(job)
                output = stage.run(job)
            record = Record(
                key=here.key,
                fingerprint=name,
                payload=made_from,
                content_hash=output.content_hash,
                upstream={role: record.address for role, record in upstream.items()} | output.upstream,
                parts=output.parts,
                rows=output.rows,
                metrics=output.metrics,
                next_start=output.next_start,
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
                shutil.rmtree(job.kept, ignore_errors=True)  # resumed training would mix old and new files
                raise
            made = self.records.commit(record, workdir)
        if stage.appends:
            for table in (rollouts_table(self.home.store), judgements_table(self.home.store)):
                table.tidy()
        return made

    def _upstream(self, here: Node, sources: dict[str, str]) -> dict[str, Record]:
        found = resolve(here, sources, lambda name: self.records.current(f"{here.campaign}/{name}"))
        if found.missing:
            raise StoreError(f"{here.key} needs {here.campaign}/{found.missing[0]}, which has not run; run it first")
        return dict(found.records)
