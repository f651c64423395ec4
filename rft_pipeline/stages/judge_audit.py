"""The audit stage: each criterion's judge asked about the anchors and about what people labelled."""

import json

import polars as pl

from rft_pipeline.audit.criterion import audit_criterion, refused
from rft_pipeline.audit.numbers import as_numbers, as_plain, noises
from rft_pipeline.audit.rows import audit_rows, judgements_of, people_rows, rows_to_judge, rows_to_retest
from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.labels.replies import labelled_replies
from rft_pipeline.prompts.reading import read_anchors
from rft_pipeline.stages.job import Job, Output


def judge_audit(job: Job) -> Output:
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
    from rft_pipeline.report.audit import render_audit

    (job.workdir / "judge_audit.html").write_text(
        render_audit(audited, job.title, campaign.description), encoding="utf-8"
    )
    return Output(
        content_hash=fingerprint({each.verdict.criterion: each.verdict.weight for each in audited}),
        parts={"noise": fingerprint(noises(plain))} if campaign.audit.by_group else {},
        rows={
            "anchors": anchors.height,
            "labelled": people.height,
            "judgements": sum(each.judged.height for each in audited),
            "made": made,
        }
        | {"refused": len(refused(audited))},
        metrics=as_numbers(audited),
    )
