"""A real dagster-daemon on the tiny campaign: it notices an edit, runs it once, and keeps the schedule."""

from pathlib import Path

import pytest

from rft_pipeline.store import Home, RecordStore
from tests.assets.daemon import QUICK, daemon, finished, runs, start_sensor, the_first_is_finished, ticks, wait_for
from tests.runs import edit

pytestmark = pytest.mark.waits


def test_an_edit_is_run_once_even_after_a_restart_and_a_schedule_runs_what_is_stale(finished_copy: Path) -> None:
    start_sensor()
    with daemon(QUICK):
        wait_for(lambda: ticks() >= 1)
        edit(finished_copy / "rubric.yaml", "criteria.2.judge.rule.min_words", 5)
        wait_for(finished(rft__reason="rubric changed"))
    made = {
        name: record.rows["made"]
        for name in ("round_2/rollouts", "round_2/judge_scores")
        if (record := RecordStore(Home.find().store).current(f"tiny/{name}")) is not None
    }
    assert made == {"round_2/rollouts": 16, "round_2/judge_scores": 16}

    looked = ticks()
    edit(finished_copy / "campaign.yaml", "schedule", {"cron": "* * * * *"})
    edit(finished_copy / "campaign.yaml", "evaluation.resamples", 200)
    with daemon(QUICK):
        wait_for(the_first_is_finished(rft__reason="scheduled"))
        wait_for(lambda: ticks() >= looked + 1)
    assert len(runs(rft__reason="rubric changed")) == 1
