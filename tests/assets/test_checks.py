"""Asset checks on records made by hand."""

from pathlib import Path

from assets.checks import groups_have_variance
from rft_pipeline.campaign import load_campaign
from rft_pipeline.store import Record
from tests.runs import edit


def test_groups_without_variance_stop_grpo_and_not_sft(tiny_campaign: Path) -> None:
    rows, share = {"groups": 4, "groups_used": 0}, {"groups_used_share": 0.0}
    batch = Record("tiny/round_1/reward_batches", "f", {}, "hash", rows=rows, metrics=share)
    assert not groups_have_variance(batch, load_campaign(tiny_campaign)).passed
    edit(tiny_campaign / "campaign.yaml", "training.method", "sft")
    assert groups_have_variance(batch, load_campaign(tiny_campaign)).passed
