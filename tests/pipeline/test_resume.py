"""Stages that are killed go on from what they have; two that run at once make everything once."""

import json
import re
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest

from rft_pipeline.progress import read_progress
from rft_pipeline.store import Home, Record, Table, judgements_table, rollouts_table
from tests.pipeline.stage_process import StageProcess
from tests.runs import edit, run
from tests.tiny_campaign import write_campaign, write_home

SOURCES = ["prompts", "rubric", "policy"]
STAGES = ["round_1/rollouts", "round_1/judge_scores", "round_1/reward_batches", "round_1/checkpoints"]
ROLLOUTS = 8 * 12
STEPS = 12


class Killed(NamedTuple):
    """What a campaign that was killed three times has in the end, beside one that nobody disturbed."""

    records: dict[str, Record]
    undisturbed: dict[str, Record]
    rows_when_killed: dict[str, int]
    home: Home


@pytest.fixture(scope="module")
def killed(tiny_model: Path, empty_mlflow: Path, tmp_path_factory: pytest.TempPathFactory) -> Killed:
    """Killed in the middle of sampling, of judging and of training, each time run again from the first stage."""
    root = tmp_path_factory.mktemp("killed")
    folder = write_campaign(root, tiny_model)
    for where, value in {
        "rollouts.prompts_per_round": 12,
        "rollouts.group_size": 8,
        "rollouts.runtime.batch_size": 8,
        "judge.runtime.batch_size": 64,
        "training.runtime.save_steps": 2,
    }.items():
        edit(folder / "campaign.yaml", where, value)
    rows = {}
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("RFT_DATA", str(root / "data"))
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        monkeypatch.setenv("RFT_HOME", write_home(root / "undisturbed", empty_mlflow))
        undisturbed = run(folder, SOURCES + STAGES)
        monkeypatch.setenv("RFT_HOME", write_home(root / "home", empty_mlflow))
        run(folder, SOURCES)
        home = Home.find()
        for table in (rollouts_table(home.store), judgements_table(home.store)):
            _kill_when(partial(_height, table))
            rows[Path(table.path).name] = _height(table)
        _kill_when(lambda: any(report.what == "steps" and report.done > 3 for report in read_progress(home.progress)))
        rows["steps"] = len(_steps_in_mlflow(home))
        rows["saved"] = max(int(path.name.rpartition("-")[2]) for path in home.store.rglob(".training-*/checkpoint-*"))
        records = run(folder, STAGES)
    return Killed(records, undisturbed, rows, home)


def _kill_when(seen: Callable[[], int]) -> None:
    process = StageProcess(STAGES, rest=0.15)
    waited = time.monotonic()
    while not seen():
        assert time.monotonic() - waited < 60
        time.sleep(0.05)
    process.kill()


def _steps_in_mlflow(home: Home) -> list[int]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=home.mlflow_uri)
    (run_,) = client.search_runs(["1"], filter_string="tags.`rft.round` = '1'")
    return sorted(metric.step for metric in client.get_metric_history(run_.info.run_id, "train/loss"))


def _height(table: Table) -> int:
    return table.rows().collect().height


def test_a_killed_campaign_ends_with_the_results_of_one_that_nobody_disturbed(killed: Killed) -> None:
    for name in STAGES:
        assert killed.records[name].fingerprint == killed.undisturbed[name].fingerprint
        assert killed.records[name].content_hash == killed.undisturbed[name].content_hash


def test_rows_made_before_the_kill_are_not_made_again(killed: Killed) -> None:
    sampled = killed.rows_when_killed["rollouts"]
    assert 0 < sampled < ROLLOUTS
    assert killed.records["round_1/rollouts"].rows["made"] == ROLLOUTS - sampled
    wanted, judged = killed.undisturbed["round_1/judge_scores"].rows["made"], killed.rows_when_killed["judgements"]
    assert 0 < judged < wanted
    assert killed.records["round_1/judge_scores"].rows["made"] == wanted - judged


@pytest.mark.parametrize("name", ["rollouts", "judgements"])
def test_no_key_stands_twice_in_a_table_after_a_kill(killed: Killed, name: str) -> None:
    table = {"rollouts": rollouts_table, "judgements": judgements_table}[name](killed.home.store)
    keys = pl.scan_delta(table.path).select(table.key).collect()[table.key]
    assert keys.len() > 0
    assert keys.n_unique() == keys.len()


def test_a_killed_training_goes_on_from_its_last_saved_step_and_tells_all_of_them(killed: Killed) -> None:
    # content hashes are of the weights: they end as those nobody disturbed, to the last bit
    assert 0 < killed.rows_when_killed["saved"] < STEPS
    lines = killed.records["round_1/checkpoints"].path("steps.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(1, STEPS + 1))


def test_mlflow_shows_each_step_once_after_a_kill(killed: Killed) -> None:
    assert 0 < killed.rows_when_killed["steps"] < STEPS
    assert _steps_in_mlflow(killed.home) == list(range(1, STEPS + 1))


def test_a_kill_leaves_nothing_behind(killed: Killed) -> None:
    for name in (".making-*", ".training-*"):
        assert not list(killed.home.store.rglob(name))
    assert not list(killed.home.progress.iterdir())


def test_of_two_processes_that_want_the_same_stage_one_makes_it_and_the_other_waits(tiny_campaign: Path) -> None:
    edit(tiny_campaign / "campaign.yaml", "rollouts.runtime.batch_size", 4)
    run(tiny_campaign, SOURCES)
    both = [StageProcess(["round_1/rollouts"], rest=0.4) for _ in range(2)]
    (first, first_said), (second, second_said) = (process.finish() for process in both)
    assert sorted(cached for cached, _ in first + second) == [False, True]
    assert len({content_hash for _, content_hash in first + second}) == 1
    waiting = [line for line in first_said + second_said if "waiting for" in line]
    pids = [process.process.pid for process in both]
    assert waiting  # at first perhaps for "another process", which has not written its name yet
    assert re.match(
        rf"round_1/rollouts: waiting for process ({pids[0]}|{pids[1]}) on .*, running since 20", waiting[-1]
    )
    table = rollouts_table(Home.find().store)
    assert pl.scan_delta(table.path).select(pl.len()).collect().item() == 16
