"""The stage `rubric`: the criteria with their judges, weights and gates."""

import json
from typing import Any

from rft_pipeline.campaign import Campaign
from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.stages.base import Node, Output, Sources, Stage, Upstream, what_judges_see
from rft_pipeline.stages.job import Job


class Rubric(Stage):
    """Record the rubric, so that its versions can be compared."""

    name = "rubric"
    description = "The criteria of a good answer, with their judges, weights and gates."
    version = 2
    scope = "campaign"
    of_people = True

    def settings(self, campaign: Campaign, node: Node) -> dict[str, Any]:
        every = (*campaign.rubric.criteria, *campaign.rubric.single_criteria)
        versions = {each.judge.protocol: each.payload["protocol_version"] for each in every}
        return {**campaign.rubric.identity, "protocol_versions": versions}

    def inputs(self, campaign: Campaign, node: Node, upstream: Upstream, sources: Sources) -> dict[str, str]:
        return {}

    def run(self, job: Job) -> Output:
        identity = job.campaign.rubric.identity
        (job.workdir / "rubric.json").write_text(json.dumps(identity, indent=2) + "\n", encoding="utf-8")
        judged = what_judges_see(job.campaign.rubric.criteria)
        return Output(content_hash=fingerprint(judged), rows={"criteria": len(judged)})
