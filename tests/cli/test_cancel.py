"""A run of `rft run` that somebody cancels in the UI."""

import time
from pathlib import Path

import dagster as dg
import pytest

from rft_pipeline.progress import read_progress
from rft_pipeline.store import Home, rollouts_table
from tests.assets.small import instance, left_behind
from tests.cli.small import ended, started
from tests.runs import edit, run

pytestmark = pytest.mark.waits

ROLLOUTS = 4 * 128


def test_it_ends_leaves_nothing_and_the_next_goes_on_from_its_rows(tiny_campaign: Path) -> None:
    edit(tiny_campaign / "campaign.yaml", "rollouts.group_size", ROLLOUTS // 4)
    edit(tiny_campaign / "campaign.yaml", "rollouts.runtime.batch_size", 4)
    process = started("run", "tiny")
    began = time.monotonic()
    while not any(report.what == "rollouts" and report.done for report in read_progress(Home.find().progress)):
        assert process.poll() is None, ended(process).err
        assert time.monotonic() - began < 120
        time.sleep(0.05)
    with instance() as running:
        (cancelled,) = running.get_runs()
        assert running.run_coordinator is not None
        running.run_coordinator.cancel_run(cancelled.run_id)  # what the UI's button does
        said = ended(process)
        assert running.get_run_by_id(cancelled.run_id).status == dg.DagsterRunStatus.CANCELED  # type: ignore[union-attr]
    assert said.code == 1
    assert f"run {cancelled.run_id} was cancelled; finished stages are kept" in said.err
    assert left_behind() == []
    sampled = rollouts_table(Home.find().store).rows().collect().height
    assert 0 < sampled < ROLLOUTS
    assert run(tiny_campaign, ["round_1/rollouts"])["round_1/rollouts"].rows["made"] == ROLLOUTS - sampled
