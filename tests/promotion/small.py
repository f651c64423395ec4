"""Records, champions and plans of the campaigns that tests of promotion run."""

import shutil
from pathlib import Path

from rft_pipeline.campaign import load_campaign
from rft_pipeline.pipeline.plan import plan
from rft_pipeline.store import Home, Record, RecordStore, champions
from rft_pipeline.store.champions import Champion
from tests.runs import edit


def record(name: str) -> Record:
    found = RecordStore(Home.find().store).current(name)
    assert found is not None
    return found


def champion(campaign: str = "tiny") -> Champion:
    found = champions.champion(Home.find().root, campaign)
    assert found is not None
    return found


def to_run(folder: Path) -> list[str]:
    return [step.key for step in plan(load_campaign(folder), Home.find()).steps if step.action == "run"]


def started_from_champion(folder: Path) -> Path:
    """A campaign `second` that starts from the champion of `tiny`, one round long."""
    second = folder.parent / "second"
    shutil.copytree(folder, second)
    for where, value in {"name": "second", "policy.model": "champion:tiny", "rounds": 1, "seed": 8}.items():
        edit(second / "campaign.yaml", where, value)
    return second
