"""The stage `judge_audit`: each criterion's judge, asked about the anchors and about replies that people labelled."""

import json
from collections.abc import Iterator
from typing import Any

import polars as pl

from rft_pipeline.audit.criterion import audit_criterion, refused
from rft_pipeline.audit.numbers import as_numbers, as_plain, noises
from rft_pipeline.audit.rows import audit_rows, judgements_of, people_rows, rows_to_judge, rows_to_retest
from rft_pipeline.campaign import Campaign
from rft_pipeline.campaign.addresses import (
    REPLY,
    JudgementKey,
    as_rollout,
    judge_inputs,
    judged_criteria_in,
    retest_judge_id,
)
from rft_pipeline.campaign.rubric import Criterion
from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.labels.replies import labelled_replies
from rft_pipeline.labels.table import labels_of
from rft_pipeline.prompts.reading import read_anchors
from rft_pipeline.stages.base import Node, Output, Sources, Stage, Upstream, content_read, what_judges_see
from rft_pipeline.stages.counting import Counting
from rft_pipeline.stages.job import Job
from rft_pipeline.stages.rows_used import FindRecord, JudgedRows, read_columns, subjects_shown
from rft_pipeline.store import Record


class JudgeAudit(Stage):
    """Measure how far each judge agrees with people and what else moves it: how much of its weight it has earned."""

    name = "judge_audit"
    version = 4
    scope = "campaign"
    counted = "judgements"
    of_people = True

    def exists(self, campaign: Campaign) -> bool:
        return campaign.audit is not None

    def upstream(self, campaign: Campaign, round_: int) -> dict[str, str]:
        return {"rubric": "rubric", "labels": "labels"}

    def criteria(self, campaign: Campaign) -> tuple[Criterion, ...]:
        return campaign.rubric.criteria

    def settings(self, campaign: Campaign, node: Node) -> dict[str, Any]:
        assert campaign.audit is not None
        return {
            "audit": campaign.audit.identity,
            "criteria": what_judges_see(campaign.rubric.criteria),
            "seed": campaign.seed,
        }

    def inputs(self, campaign: Campaign, node: Node, upstream: Upstream, sources: Sources) -> dict[str, str]:
        judges = judge_inputs(campaign.rubric.criteria, sources)
        return {"anchors": sources["anchors"], **content_read(upstream), **judges}

    def run(self, job: Job) -> Output:
        """Judge anchors, their edits and what people labelled; write the numbers, the table and the page."""
        campaign = job.campaign
        assert campaign.anchors_path is not None
        assert campaign.audit is not None
        anchors = read_anchors(campaign.anchors_path, campaign.rubric)
        labels = job.labels()
        people = people_rows(labels, labelled_replies(campaign.name, job.home.store, labels), campaign.rubric.names)
        rows = audit_rows(anchors, campaign.audit.probed_anchors, campaign.seed, people)
        audited, made = [], 0
        for criterion in campaign.rubric.judged:
            asked = rows_to_judge(rows, criterion)
            scores, counts = job.judge(asked, [criterion])
            repeated = rows_to_retest(asked, rows, criterion)
            again, more = job.judge(repeated, [criterion], second_time=True) if repeated.height else (None, {})
            made += sum(counts.values()) + sum(more.values())
            judged = judgements_of(criterion, rows, scores, again)
            audited.append(
                audit_criterion(criterion, judged, campaign.audit, campaign.seed, labels, job.families(criterion))
            )
        job.write(pl.concat([each.judged for each in audited]))
        plain = [as_plain(each) for each in audited]
        (job.workdir / "judge_audit.json").write_text(json.dumps(plain, indent=2) + "\n", encoding="utf-8")
        from rft_pipeline.report.audit_page import render_audit

        (job.workdir / "judge_audit.html").write_text(
            render_audit(audited, plain, job.title, campaign.description), encoding="utf-8"
        )
        return Output(
            content_hash=fingerprint({each.verdict.criterion: each.verdict.weight for each in audited}),
            parts={"noise": fingerprint(noises(plain))},
            rows={
                "anchors": anchors.height,
                "labelled": people.height,
                "judgements": sum(each.judged.height for each in audited),
                "made": made,
            }
            | {"refused": len(refused(audited))},
            metrics=as_numbers(audited),
        )

    def count(self, counting: Counting) -> None:
        """The anchors, some of them edited or asked about twice, and what people labelled."""
        campaign, store = counting.campaign, counting.home.store
        assert campaign.anchors_path is not None
        assert campaign.audit is not None
        labels = labels_of(campaign, store)
        people = people_rows(labels, labelled_replies(campaign.name, store, labels), campaign.rubric.names)
        anchors = read_anchors(campaign.anchors_path, campaign.rubric)
        rows = audit_rows(anchors, campaign.audit.probed_anchors, campaign.seed, people)
        second = {name: retest_judge_id(judge) for name, judge in counting.sources.items()}
        for criterion in campaign.rubric.judged:
            asked = rows_to_judge(rows, criterion)
            counting.asked_about(asked, criterion, [counting.sources])
            counting.asked_about(rows_to_retest(asked, rows, criterion), criterion, [second])

    def judgements_in(self, record: Record, at: FindRecord) -> Iterator[JudgedRows]:
        """Each judge was asked about the replies labelled for its criterion and their edits; some of them twice."""
        rows = read_columns(record.path("judge_audit.parquet"), [*REPLY, "criterion", "repeated"])
        for asked in judged_criteria_in(record.payload):
            mine = rows.filter(pl.col("criterion") == asked.name.partition(".")[0])
            yield JudgedRows(asked.key, subjects_shown(_different(mine), asked))
            if mine["repeated"].any():
                second = JudgementKey(asked.key.criterion, retest_judge_id(asked.judge))
                yield JudgedRows(second, subjects_shown(_different(mine.filter("repeated")), asked))


def _different(rows: pl.DataFrame) -> list[Any]:
    """The different replies of rows."""
    return [as_rollout(row) for row in rows.select(REPLY).unique().iter_rows(named=True)]
