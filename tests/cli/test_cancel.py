"""A run of `rft run` that somebody cancels in the UI, or ends with Ctrl-C."""

import os
import signal
import subprocess
import time
from pathlib import Path

import dagster as dg
import pytest

from rft_pipeline.errors import Exit
from rft_pipeline.progress import read_progress
from rft_pipeline.store import Home, rollouts_table
from tests.assets.small import instance, left_behind
from tests.cli.small import ended, started
from tests.runs import edit, run

pytestmark = pytest.mark.waits

GROUP = 128
ROLLOUTS = 4 * GROUP
"""Of a round."""


def sampling_started(folder: Path) -> "subprocess.Popen[str]":
    """`rft run` of a campaign with large groups, once it samples."""
    edit(folder / "campaign.yaml", "rollouts.group_size", GROUP)
    edit(folder / "campaign.yaml", "rollouts.runtime.batch_size", 4)
    process = started("run", "tiny")
    began = time.monotonic()
    while not any(report.what == "rollouts" and report.done for report in read_progress(Home.find().progress)):
        assert process.poll() is None, ended(process).err
        assert time.monotonic() - began < 120
        time.sleep(0.05)
    return process


def sampled() -> int:
    return rollouts_table(Home.find().store).rows().collect().height


def test_it_ends_leaves_nothing_and_the_next_goes_on_from_its_rows(tiny_campaign: Path) -> None:
    process = sampling_started(tiny_campaign)
    with instance() as running:
        (cancelled,) = running.get_runs()
        assert running.run_coordinator is not None
        running.run_coordinator.cancel_run(cancelled.run_id)  # what the UI's button does
        said = ended(process)
        assert running.get_run_by_id(cancelled.run_id).status == dg.DagsterRunStatus.CANCELED  # type: ignore[union-attr]
    assert said.code == Exit.INTERRUPTED
    assert left_behind() == []
    assert 0 < sampled() < ROLLOUTS
    kept = f"{sampled()} of {2 * ROLLOUTS} rollouts are kept; `rft run tiny` goes on"
    assert said.err.splitlines()[-1] == f"run {cancelled.run_id} was cancelled; {kept}"
    made = ROLLOUTS - sampled()
    edit(tiny_campaign / "campaign.yaml", "rollouts.runtime.batch_size", 64)
    assert run(tiny_campaign, ["round_1/rollouts"])["round_1/rollouts"].rows["made"] == made


def test_ctrl_c_says_how_many_rollouts_are_kept_also_of_an_unfinished_generation(on_policy: Path) -> None:
    edit(on_policy / "campaign.yaml", "rounds", 1)
    edit(on_policy / "campaign.yaml", "training.batch_size", 2 * GROUP)
    process = sampling_started(on_policy)
    os.killpg(process.pid, signal.SIGINT)  # what a terminal sends to the command and all its processes
    said = ended(process)
    assert said.code == Exit.INTERRUPTED
    assert "Traceback" not in said.err
    assert ": interrupted" in said.err
    assert ": failed" not in said.err
    assert 0 < sampled() <= 2 * GROUP  # the first of 4 generations of 2 prompts
    assert said.err.splitlines()[-1] == (
        f"interrupted; {sampled()} of {8 * GROUP} rollouts are kept; `rft run tiny` goes on"
    )
    assert left_behind() == []
    with instance() as running:
        assert [each.status for each in running.get_runs()] == [dg.DagsterRunStatus.CANCELED]
