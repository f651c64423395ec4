"""The runner: everything that is the same for all stages."""

import os
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from rft_pipeline import models
from rft_pipeline.campaign import Campaign
from rft_pipeline.errors import DataError, StoreError
from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.pipeline.champion import apply_decision, end_cycle, show_champions
from rft_pipeline.pipeline.sources import source_hashes
from rft_pipeline.pipeline.tracking import Tracker
from rft_pipeline.pipeline.unchanged import refuse_changed_sources, refuse_other_weights
from rft_pipeline.progress import Progress, forget, kind_of, progress_file
from rft_pipeline.promotion import looks
from rft_pipeline.stages import STAGES
from rft_pipeline.stages.base import Node, Output
from rft_pipeline.stages.generations import make_round
from rft_pipeline.stages.graph import made_together, node, payload, resolve
from rft_pipeline.stages.job import Job
from rft_pipeline.stages.judge_engines import JudgeEngines
from rft_pipeline.store import Home, Record, RecordStore


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
        return self.run_together(campaign, name, dagster_run_id)[name]

    def run_together(self, campaign: Campaign, name: str, dagster_run_id: str | None = None) -> dict[str, Record]:
        """The records, by name, of stage `name` and those that are made together with it."""
        here = node(campaign, name)
        together = made_together(campaign, here)
        first = together[0]
        progress = Progress(
            first.name, progress_file(self.home.progress, first.key, dagster_run_id or str(os.getpid()))
        )
        with closing(progress):
            with ExitStack() as locks:
                for each in together:
                    locks.enter_context(self.records.holding(each.key, dagster_run_id, progress.wait_for))
                forget(self.home.progress, first.key)
                sources = source_hashes(campaign, self.home, fetch=True)
                trackers = {
                    each.stage: Tracker(self.home, campaign, each, sources, dagster_run_id) for each in together
                }
                work = _Work(campaign, together, sources, trackers, progress)
                found = self._found(work)
                if len(found) < len(together):
                    found = self._make(work)
                for record in found.values():
                    self.records.make_current(record)
                if STAGES[here.stage].decides:
                    decision, tracker = found[here.stage], trackers[here.stage]
                    looks.count(self.home.root, campaign.name, decision.payload)
                    outcome = apply_decision(campaign, self.home, decision)
                    end_cycle(campaign, self.home, decision, outcome, sources["prompts.train"])
                    tracker.log_outcome(outcome)
            self._publish(here, found[here.stage])
            return {
                each.name: replace(found[each.stage], mlflow_run_id=trackers[each.stage].log_record(found[each.stage]))
                for each in together
            }

    def _publish(self, here: Node, record: Record) -> None:
        """Copy the stage's pages, if it has any, to the folder of reports."""
        if not (pages := STAGES[here.stage].pages):
            return
        from rft_pipeline.report.published import publish

        texts = {suffix: record.path(file).read_text(encoding="utf-8") for file, suffix in pages.items()}
        publish(self.home.reports, here.campaign, texts)
        show_champions(self.home, here.campaign)

    def _found(self, work: "_Work") -> dict[str, Record]:
        """The records that exist, by stage, up to the first that is missing."""
        found: dict[str, Record] = {}
        for each in work.nodes:
            upstream = self._upstream(each, work.sources, found)
            made_from = payload(work.campaign, each, upstream, work.sources)
            record = self.records.find(each.key, fingerprint(made_from))
            if record is None:
                break
            found[each.stage] = record
        return found

    def _make(self, work: "_Work") -> dict[str, Record]:
        """Make the records that are missing. Sources are read again before the first of them is committed."""
        made: dict[str, Record] = {}
        with ExitStack() as opened:
            engines = opened.enter_context(closing(JudgeEngines(work.campaign, self.home.models, work.sources)))
            first = self._job(work, work.nodes[0], made, opened, engines)
            refuse_other_weights(first)
            round_ = make_round(first) if len(work.nodes) > 1 else None
            if round_ is not None:
                self._refuse_changed(first)
            for each in work.nodes:
                job = first if each is first.node else self._job(work, each, made, opened, engines, first.kept)
                if (found := self.records.find(each.key, fingerprint(job.made_from))) is not None:
                    made[each.stage] = found
                    continue
                began = time.monotonic()
                output = (
                    STAGES[each.stage].run(job) if round_ is None else STAGES[each.stage].of_generations(job, round_)
                )
                if round_ is None:
                    self._refuse_changed(job)
                made[each.stage] = self._commit(work, job, output, time.monotonic() - began)
            shutil.rmtree(first.kept, ignore_errors=True)
        if any(STAGES[each.stage].appends for each in work.nodes):
            for table in (first.rollouts, first.judgements):
                table.tidy()
        return made

    def _job(
        self,
        work: "_Work",
        here: Node,
        made: Mapping[str, Record],
        opened: ExitStack,
        engines: JudgeEngines,
        kept: Path | None = None,
    ) -> Job:
        upstream = self._upstream(here, work.sources, made)
        made_from = payload(work.campaign, here, upstream, work.sources)
        return Job(
            campaign=work.campaign,
            node=here,
            upstream=upstream,
            sources=work.sources,
            made_from=made_from,
            home=self.home,
            workdir=opened.enter_context(self.records.workdir(here.key)),
            kept=kept or self.records.kept(work.nodes[-1].key, fingerprint(made_from)),
            progress=work.progress,
            log_step=work.trackers[here.stage].log_step,
            engines=engines,
        )

    def _refuse_changed(self, job: Job) -> None:
        try:
            refuse_changed_sources(job)
        except DataError:
            shutil.rmtree(job.kept, ignore_errors=True)  # resumed training would mix old and new files
            raise

    def _commit(self, work: "_Work", job: Job, output: Output, seconds: float) -> Record:
        tracker, spent = work.trackers[job.node.stage], work.progress.spent
        if len(work.nodes) > 1:
            own = STAGES[job.node.stage].counted
            spent = {what: each for what, each in spent.items() if kind_of(what) == own}
            seconds = sum(each["seconds"] for each in spent.values())
        record = Record(
            key=job.node.key,
            fingerprint=fingerprint(job.made_from),
            payload=job.made_from,
            content_hash=output.content_hash,
            upstream={role: record.address for role, record in job.upstream.items()} | output.upstream,
            parts=output.parts,
            rows=output.rows,
            metrics=output.metrics,
            next_start=output.next_start,
            seconds=round(seconds, 3),
            spent=spent,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            software=models.versions(),
            dagster_run_id=tracker.dagster_run_id,
            mlflow_run_id=tracker.run_id,
        )
        return self.records.commit(record, job.workdir)

    def _upstream(self, here: Node, sources: Mapping[str, str], made: Mapping[str, Record]) -> dict[str, Record]:
        """The upstream records; `made` holds those that are made together with this one, by stage."""
        together = {f"round_{here.round}/{stage}": record for stage, record in made.items()}

        def record_of(name: str) -> Record | None:
            return together.get(name) or self.records.current(f"{here.campaign}/{name}")

        found = resolve(here, sources, record_of)
        if found.missing:
            raise StoreError(f"{here.key} needs {here.campaign}/{found.missing[0]}, which has not run; run it first")
        return dict(found.records)


@dataclass(frozen=True)
class _Work:
    """The nodes that are made together: one, or those of a round in generations."""

    campaign: Campaign
    nodes: Sequence[Node]
    sources: dict[str, str]
    trackers: Mapping[str, Tracker]
    """By stage."""
    progress: Progress
