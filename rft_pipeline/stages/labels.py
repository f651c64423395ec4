"""The stage `labels`: people's labels of replies."""

import json
from dataclasses import asdict

from rft_pipeline.campaign import Campaign
from rft_pipeline.labels.table import content_of, labels_of, left_out
from rft_pipeline.stages.base import Node, Output, Sources, Stage, Upstream
from rft_pipeline.stages.job import Job

NO_LABELS = "none"
"""In place of the content hash while there are no labels."""


class Labels(Stage):
    """Keep the imported labels that fit the current rubric, a row a label."""

    name = "labels"
    description = "People's labels of rollouts; a label replaces the judge's score."
    version = 1
    scope = "campaign"
    of_people = True

    def inputs(self, campaign: Campaign, node: Node, upstream: Upstream, sources: Sources) -> dict[str, str]:
        return {"labels": sources.get("labels", NO_LABELS)}

    def run(self, job: Job) -> Output:
        labels, others = labels_of(job.campaign, job.home.store), left_out(job.campaign, job.home.store)
        job.write(labels)
        if others:
            described = json.dumps([asdict(each) for each in others], indent=2, ensure_ascii=False)
            (job.workdir / "left_out.json").write_text(described + "\n", encoding="utf-8")
        return Output(
            content_hash=content_of(labels),
            rows={
                "labels": labels.height,
                "rollouts": labels["rollout_id"].n_unique(),
                "annotators": labels["annotator"].n_unique(),
            }
            | ({"left_out": sum(each.labels for each in others)} if others else {}),
        )
