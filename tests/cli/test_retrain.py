"""`rft retrain`: a cycle by hand."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.definitions import definitions
from rft_pipeline.campaign import Campaign
from rft_pipeline.campaign.cycles import newest
from rft_pipeline.store import Home
from tests.assets.small import instance
from tests.cli.small import Rft, assert_one_message, printed
from tests.promoted import write_champion
from tests.prompts.test_cycle import log, set_up


def test_without_settings_it_says_what_is_missing(finished_home: Path, rft: Rft) -> None:
    assert_one_message(rft("retrain", "tiny"), "campaign.yaml: schedule.retrain: is missing; retraining needs")


def test_the_plan_tells_what_would_be_drawn_and_writes_nothing(finished_copy: Path, rft: Rft) -> None:
    set_up(finished_copy)
    log(finished_copy, "monday")
    said = rft("retrain", "tiny", "--plan")
    assert said.code == 0
    assert "8 new, 0 old" in said.out
    plain = printed("retrain", rft("retrain", "tiny", "--plan", "--json"))
    assert (plain["number"], plain["prompts"], plain["logged"], plain["refusal"]) == (1, 8, 12, None)
    assert newest(Home.find(), "tiny") is None


def test_nothing_new_runs_nothing_and_says_so(finished_copy: Path, rft: Rft) -> None:
    set_up(finished_copy)
    said = rft("retrain", "tiny")
    assert said.code == 4
    assert "no new cycle: nothing new: no file matches" in said.out
    assert not (finished_copy.parents[1] / "home" / "dagster" / "rft_run.log").exists()


def test_a_cycle_is_launched_from_the_champion_on_the_drawn_prompts(
    finished_copy: Path, rft: Rft, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_up(finished_copy)
    log(finished_copy, "monday")
    champion = write_champion("tiny/round_1/checkpoints")
    launched: list[tuple[str, str, Any]] = []

    def launch(home: Home, campaign: Campaign, tags: Any) -> None:
        launched.append((campaign.policy.model, campaign.prompts.train.source, tags))

    monkeypatch.setattr("rft_pipeline.cli.launch.launch", launch)
    said = rft("retrain", "tiny")
    assert said.code == 0, said.err
    assert "current cycle: 1, " in said.out
    tags = {"rft/cycle": "1", "rft/champion": champion}
    assert launched == [(f"champion:tiny@{champion}", "../../home/cycles/tiny/1/prompts.jsonl", tags)]

    again = rft("retrain", "tiny")
    assert "since cycle 1" in again.out
    assert len(launched) == 2, "a cycle that was begun and never run is resumed"


def test_a_run_that_goes_on_keeps_its_prompts(finished_copy: Path, rft: Rft) -> None:
    set_up(finished_copy)
    log(finished_copy, "monday")
    with instance() as running:
        running.create_run_for_job(
            definitions(Home.find()).resolve_job_def("tiny"),
            tags={"rft/campaign": "tiny"},
            status=dg.DagsterRunStatus.NOT_STARTED,
        )
    assert_one_message(rft("retrain", "tiny"), "tiny has an unfinished run, whose prompts a new cycle would change")
    assert newest(Home.find(), "tiny") is None
