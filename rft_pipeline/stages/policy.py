"""The stage `policy`: the model that the campaign starts from."""

import json
from typing import Any

from rft_pipeline import models
from rft_pipeline.campaign import Campaign
from rft_pipeline.stages.base import CHECKPOINT, Node, Output, Sources, Stage, Upstream
from rft_pipeline.stages.job import Job


class Policy(Stage):
    """Identify the weights by their content; fetch them if they are not installed."""

    name = "policy"
    description = "The weights that the campaign starts from: the embedded model, a hub model, a folder, or a champion."
    version = 2
    scope = "campaign"

    def settings(self, campaign: Campaign, node: Node) -> dict[str, Any]:
        return {"model": campaign.policy.model}

    def inputs(self, campaign: Campaign, node: Node, upstream: Upstream, sources: Sources) -> dict[str, str]:
        return {"weights": sources["policy"]}

    def run(self, job: Job) -> Output:
        policy = job.campaign.policy
        upstream = {}
        if (found := models.trained(policy.model, job.home.models)) is not None:
            address, content = found
            upstream = {CHECKPOINT: address}
        else:
            content = models.identify(policy.model, job.home.models, job.campaign.folder)
        where = (
            f"server {policy.server.named}"
            if policy.server is not None
            else models.resolve(policy.model, job.home.models, job.campaign.folder).source
        )
        described = {"name": policy.model, "content_hash": content, "source": where}
        (job.workdir / "policy.json").write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
        return Output(content_hash=content, upstream=upstream)
