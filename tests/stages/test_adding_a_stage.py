"""A new stage is a class and an entry in STAGES: the graph, the runner, the plan and the assets ask it."""

from pathlib import Path
from typing import Any

import pytest

from assets.definitions import campaign_assets
from rft_pipeline.campaign import Campaign, load_campaign
from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.pipeline.plan import plan
from rft_pipeline.stages import STAGES, Node, Stage, stage_of
from rft_pipeline.stages.base import Output, Sources, Upstream
from rft_pipeline.stages.job import Job
from rft_pipeline.store import Home
from tests.runs import edit, made, run
from tests.upkeep.small import verified


class PromptCount(Stage):
    """How many prompts there are."""

    name = "prompt_count"
    description = "The number of training prompts."
    version = 1
    scope = "campaign"

    def upstream(self, campaign: Campaign, round_: int) -> dict[str, str]:
        return {"prompts": "prompts"}

    def settings(self, campaign: Campaign, node: Node) -> dict[str, Any]:
        return {"seed": campaign.seed}

    def inputs(self, campaign: Campaign, node: Node, upstream: Upstream, sources: Sources) -> dict[str, str]:
        return {"prompts": upstream["prompts"].parts["train"]}

    def run(self, job: Job) -> Output:
        count = job.frame("prompts").filter(split="train").height
        (job.workdir / "count.txt").write_text(str(count), encoding="utf-8")
        return Output(content_hash=fingerprint(count), rows={"prompts": count})


NAMES = ["prompts", "prompt_count"]


def test_a_new_stage_is_run_cached_planned_and_shown(tiny_campaign: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STAGES, "prompt_count", PromptCount())
    first = run(tiny_campaign, NAMES)["prompt_count"]
    assert first.path("count.txt").read_text(encoding="utf-8") == str(first.rows["prompts"])
    assert made(run(tiny_campaign, NAMES)) == []

    edit(tiny_campaign / "campaign.yaml", "seed", 99)
    campaign, home = load_campaign(tiny_campaign), Home.find()
    (step,) = (each for each in plan(campaign, home).steps if each.key == "tiny/prompt_count")
    assert (step.action, step.reasons[0].partition(":")[0]) == ("run", "seed")

    (asset,) = (each for each in campaign_assets(campaign) if "prompt_count" in each.key.path)
    assert asset.specs_by_key[asset.key].description == "The number of training prompts."


def test_a_record_of_a_stage_that_was_removed_holds_no_rows(
    tiny_campaign: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(STAGES, "prompt_count", PromptCount())
        record = run(tiny_campaign, NAMES)["prompt_count"]
    assert stage_of(record).rollouts_in(record).is_empty()
    assert verified().findings == []
