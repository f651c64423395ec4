"""The stage `judge_audit`: how well each criterion's judge agrees with labels of anchors and of replies."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import polars as pl

from rft_pipeline.audit.criterion import audit_criterion, refused
from rft_pipeline.audit.numbers import as_numbers, as_plain, noises, people_numbers
from rft_pipeline.audit.rows import (
    WHOLE,
    audit_rows,
    judgements_of,
    people_rows,
    rows_to_judge,
    rows_to_retest,
    rule_gates,
    with_gates,
)
from rft_pipeline.audit.stored import AUDIT_FILE
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
from rft_pipeline.labels.exports import labelled_replies
from rft_pipeline.labels.table import labels_of
from rft_pipeline.prompts.anchors import anchors_of
from rft_pipeline.stages.base import MlflowRun, Node, Output, Sources, Stage, Upstream, content_read, what_judges_see
from rft_pipeline.stages.counting import Counting
from rft_pipeline.stages.job import Job
from rft_pipeline.stages.people import SAID, compare_with_people, said_inputs, said_replies
from rft_pipeline.stages.rows_used import FindRecord, JudgedRows, read_columns, subjects_shown
from rft_pipeline.store import Record

PAGE = "judge_audit.html"
PEOPLE, PEOPLE_REPLIES = "people.json", "people.parquet"
"""What people and users said: the numbers, and the judged replies."""


class JudgeAudit(Stage):
    """Measure how well each judge agrees with people and what misleads it, and from that how much weight it keeps."""

    name = "judge_audit"
    description = "Each judge compared with people's labels, and tested with replies edited to mislead it."
    version = 7
    loads = frozenset({"judges"})
    scope = "campaign"
    pages: ClassVar = {PAGE: ".audit.html"}
    counted = "judgements"
    of_people = True
    informs = SAID

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
            "gates": rule_gates(campaign.rubric.criteria),
            "seed": campaign.seed,
        }

    def inputs(self, campaign: Campaign, node: Node, upstream: Upstream, sources: Sources) -> dict[str, str]:
        judges = judge_inputs(campaign.rubric.criteria, sources)
        said = said_inputs(campaign, sources)
        return {"anchors": sources["anchors"], **content_read(upstream), **judges, **said}

    def run(self, job: Job) -> Output:
        """Judge anchors, edited anchors, labelled replies, and the replies of decided pairs and of logs with feedback;
        write the numbers, the tables and the page."""
        campaign = job.campaign
        assert campaign.audit is not None
        labels = job.labels()
        rows, counted = _rows(campaign, job.home.store, labels)
        rows = with_gates(rows, campaign.rubric.criteria)
        audited, made = [], 0
        for criterion in campaign.rubric.judged:
            once = rows_to_judge(rows, criterion)
            scores, counts = job.judge(once, [criterion])
            twice = rows_to_retest(once, rows, criterion)
            retest, more = job.judge(twice, [criterion], retest=True) if twice.height else (None, {})
            made += sum(counts.values()) + sum(more.values())
            judged = judgements_of(criterion, rows, scores, retest)
            audited.append(
                audit_criterion(criterion, judged, campaign.audit, campaign.seed, labels, job.families(criterion))
            )
        job.write(pl.concat([each.judged for each in audited]))
        plain = [as_plain(each) for each in audited]
        (job.workdir / AUDIT_FILE).write_text(json.dumps(plain, indent=2) + "\n", encoding="utf-8")
        people, replies, more_made = compare_with_people(job)
        replies.write_parquet(job.workdir / PEOPLE_REPLIES)
        (job.workdir / PEOPLE).write_text(json.dumps(people, indent=2) + "\n", encoding="utf-8")
        from rft_pipeline.report.audit_page import render_audit

        page = render_audit(audited, plain, job.title, campaign.description, people)
        (job.workdir / PAGE).write_text(page, encoding="utf-8")
        return Output(
            content_hash=fingerprint({each.verdict.criterion: each.verdict.weight for each in audited}),
            parts={"noise": fingerprint(noises(plain))},
            rows={
                **counted,
                "judgements": sum(each.judged.height for each in audited),
                "made": made + more_made,
                "refused": len(refused(audited)),
            },
            metrics={**as_numbers(audited), **people_numbers(people)},
        )

    def track(self, record: Record, run: MlflowRun) -> None:
        run.artifacts(record, PAGE)

    def count(self, counting: Counting) -> None:
        """Count the judgements of anchors, of their edits, of labelled replies, and of retests."""
        campaign, store = counting.campaign, counting.home.store
        rows, _ = _rows(campaign, store, labels_of(campaign, store))
        retest = {name: retest_judge_id(judge) for name, judge in counting.sources.items()}
        counting.work.made_up_of.append(_judged_in_words(rows))
        for criterion in campaign.rubric.judged:
            once = rows_to_judge(rows, criterion)
            counting.audited(once, criterion, [counting.sources])
            counting.audited(rows_to_retest(once, rows, criterion), criterion, [retest])
        for replies in said_replies(campaign, store).values():
            for criterion in campaign.rubric.criteria:
                counting.audited(replies.rename({"rollout_id": "id"}), criterion, [counting.sources])

    def judgements_in(self, record: Record, at: FindRecord) -> Iterator[JudgedRows]:
        """The judgements of replies labelled for each criterion, of their edits, and of retests; and of the replies of
        decided pairs and of logs."""
        rows = read_columns(record.path("judge_audit.parquet"), [*REPLY, "criterion", "repeated"])
        for criterion in judged_criteria_in(record.payload):
            once = rows.filter(pl.col("criterion") == criterion.name.partition(".")[0])
            yield JudgedRows(criterion.key, subjects_shown(_distinct(once), criterion))
            if once["repeated"].any():
                retest = JudgementKey(criterion.key.criterion, retest_judge_id(criterion.judge))
                yield JudgedRows(retest, subjects_shown(_distinct(once.filter("repeated")), criterion))
        replies = pl.read_parquet(record.path(PEOPLE_REPLIES), glob=False)
        for kind in replies["kind"].unique():
            for criterion in judged_criteria_in(record.payload):
                yield JudgedRows(criterion.key, subjects_shown(_distinct(replies.filter(kind=kind)), criterion))


def _judged_in_words(rows: pl.DataFrame) -> str:
    """`6 labelled replies, up to 12 edits of each of 4, and these 4 again; each by the judges of its labels`."""
    whole, edited = rows.filter(probe=WHOLE).height, rows.filter(pl.col("probe") != WHOLE)
    probed, probes = edited["id"].n_unique(), edited["probe"].n_unique()
    again = f", up to {probes} edits of each of {probed}, and these {probed} again" if probed else ""
    return f"{whole} labelled replies{again}; each by the judges of its labels"


def _rows(campaign: Campaign, store: Path, labels: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int]]:
    """The anchors, their edits and the labelled replies, as the audit judges them; and how many of each."""
    assert campaign.anchors_path is not None
    assert campaign.audit is not None
    people = people_rows(labels, labelled_replies(campaign.name, store, labels), campaign.rubric.names)
    anchors = anchors_of(campaign)
    rows = audit_rows(anchors, campaign.audit.probed_anchors, campaign.seed, people)
    return rows, {"anchors": anchors.height, "labelled": people.height}


def _distinct(rows: pl.DataFrame) -> list[Any]:
    """The distinct replies of rows."""
    return [as_rollout(row) for row in rows.select(REPLY).unique().iter_rows(named=True)]
