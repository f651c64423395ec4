"""Runs that meet: two campaigns in one home, and a stage that another run is making."""

import shutil
from pathlib import Path

import pytest

from rft_pipeline.progress import read_progress
from rft_pipeline.store import Home, RecordStore
from tests.cli.small import ended, started
from tests.runs import edit

pytestmark = pytest.mark.waits


def test_two_campaigns_run_side_by_side_on_one_sqlite_home(tiny_campaign: Path) -> None:
    shutil.copytree(tiny_campaign, tiny_campaign.with_name("other"))
    for key, value in {"name": "other", "seed": 8}.items():
        edit(tiny_campaign.with_name("other") / "campaign.yaml", key, value)
    (Home.find().root / "mlflow.db").unlink()  # so that both have to create it
    running = {name: started("run", name, "--rounds", "1") for name in ("tiny", "other")}
    for name, process in running.items():
        said = ended(process)
        assert said.code == 0, said.err
        assert "0 of 9 stages cached, 9 made" in said.err
        shown = [line for line in said.err.splitlines() if "/" in line]
        assert all(line.startswith(f"{name}/") for line in shown)
        assert "database is locked" not in said.err
    home = Home.find()
    assert "database is locked" not in (home.dagster / "rft_run.log").read_text(encoding="utf-8")
    assert {name: len(RecordStore(home.store).all(name)) for name in running} == {"tiny": 9, "other": 9}


def test_a_run_says_whom_it_waits_for_and_goes_on_when_the_stage_is_free(
    finished_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home.find()
    with RecordStore(home.store).holding("tiny/prompts", "1a2b3c4d-0000"):
        process = started("run", "tiny")
        assert process.stderr is not None
        line = next(line for line in process.stderr if "waiting for" in line)
        assert [report.stage for report in read_progress(home.progress)] == ["prompts"]
    assert line.startswith("tiny/prompts: waiting for run 1a2b3c4d (process ")
    said = ended(process)
    assert said.code == 0, said.err
    assert "15 of 15 stages cached, 0 made" in said.err
    assert read_progress(home.progress) == []
