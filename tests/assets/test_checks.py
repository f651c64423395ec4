"""Asset checks on records made by hand."""

from pathlib import Path

from assets.checks import groups_can_teach
from rft_pipeline.campaign import load_campaign
from rft_pipeline.store import Record
from tests.runs import edit


def test_groups_alike_stop_what_learns_from_differences_and_not_what_imitates_references(tiny_campaign: Path) -> None:
    rows, share = {"groups": 4, "groups_used": 0}, {"groups_used_share": 0.0}
    batch = Record("tiny/round_1/reward_batches", "f", {}, "hash", rows=rows, metrics=share)
    assert not groups_can_teach(batch, load_campaign(tiny_campaign)).passed
    edit(tiny_campaign / "campaign.yaml", "training.method", "sft")
    assert groups_can_teach(batch, load_campaign(tiny_campaign)).passed
