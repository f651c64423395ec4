"""What appends leave in the row tables is merged when a stage has finished."""

from pathlib import Path

import pytest
from deltalake import DeltaTable

from rft_pipeline.store import Home, rollouts_table, tables
from tests.runs import edit, run


def test_a_finished_stage_leaves_few_files(tiny_campaign: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "SMALL_FILES", 2)
    edit(tiny_campaign / "campaign.yaml", "rollouts.runtime.batch_size", 4)
    records = run(tiny_campaign, ["prompts", "policy", "round_1/rollouts"])
    table = rollouts_table(Home.find().store)
    assert table.rows().collect().height == records["round_1/rollouts"].rows["rollouts"] == 16
    assert DeltaTable(table.path).version() > 4 - 1
    assert len(DeltaTable(table.path).file_uris()) == 1
