"""A champion that is a LoRA adapter: what starts from it starts from the merged weights, and names its base."""

import shutil
from pathlib import Path

import pytest
import torch

from rft_pipeline import models
from rft_pipeline.campaign import load_campaign
from rft_pipeline.engines.weights import load_weights
from rft_pipeline.models.merging import base_of, is_adapter
from rft_pipeline.pipeline.card import card_facts
from rft_pipeline.pipeline.champion import promote
from rft_pipeline.report.card import Facts
from rft_pipeline.store import Home, Record, RecordStore
from tests.runs import edit, run

TOKENS = torch.tensor([[5, 6, 7, 8]])


@pytest.fixture
def adapter(tiny_campaign: Path) -> Record:
    """The adapter that one round trained, by force the champion of `tiny`."""
    settings = {"rounds": 1, "training.weights": "lora", "training.lora.target_modules": ["q_proj", "v_proj"]}
    for where, value in settings.items():
        edit(tiny_campaign / "campaign.yaml", where, value)
    checkpoint = run(tiny_campaign)["round_1/checkpoints"]
    promote(load_campaign(tiny_campaign), Home.find(), 1, force=True, why="to start from")
    assert is_adapter(checkpoint.path("checkpoint"))
    return checkpoint


def logits(folder: Path) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = load_weights(folder, "float32", "cpu")(TOKENS).logits
    return found


def merged(checkpoint: Record) -> Path:
    return models.promoted(checkpoint.address, checkpoint.content_hash, Home.find().models).folder


def assert_starts_from(policy: Record, trained: Record, start: Record) -> None:
    """The policy is the champion's merged weights, and another adapter was trained on these."""
    assert (policy.content_hash, policy.upstream) == (start.content_hash, {"checkpoint": start.address})
    whole = merged(start)
    assert not is_adapter(whole)
    assert torch.allclose(logits(whole), logits(start.path("checkpoint")), atol=1e-6)
    assert base_of(trained.path("checkpoint")) == whole.resolve()
    assert not torch.equal(logits(trained.path("checkpoint")), logits(whole))


def card_of(folder: Path, trained: Record) -> Facts:
    campaign, home = load_campaign(folder), Home.find()
    report = RecordStore(home.store).current(f"{campaign.name}/round_1/eval_reports")
    return card_facts(campaign, home, trained, report, "by hand", forced=True)


def test_another_campaign_starts_from_the_merged_weights(
    adapter: Record, tiny_campaign: Path, tiny_model: Path
) -> None:
    second = tiny_campaign.parent / "second"
    shutil.copytree(tiny_campaign, second)
    for where, value in {"name": "second", "policy.model": "champion:tiny", "seed": 8}.items():
        edit(second / "campaign.yaml", where, value)
    records = run(second)
    assert_starts_from(records["policy"], records["round_1/checkpoints"], adapter)
    card = card_of(second, records["round_1/checkpoints"])
    assert card.base["content_hash"] == models.content_hash(tiny_model)
    assert adapter.address in card.lineage["checkpoints"]


def test_the_next_cycle_of_the_same_campaign_starts_from_the_merged_weights(
    adapter: Record, tiny_campaign: Path, tiny_model: Path
) -> None:
    edit(tiny_campaign / "campaign.yaml", "policy.model", f"champion:tiny@{adapter.address}")
    edit(tiny_campaign / "campaign.yaml", "seed", 8)
    records = run(tiny_campaign)
    assert_starts_from(records["policy"], records["round_1/checkpoints"], adapter)
    assert records["promotion"].payload["inputs"]["champion"] == adapter.content_hash
    card = card_of(tiny_campaign, records["round_1/checkpoints"])
    assert card.base["content_hash"] == models.content_hash(tiny_model)
    assert adapter.address in card.lineage["checkpoints"]
