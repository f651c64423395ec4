"""A judge behind a server that becomes another one mid-campaign, under the same name."""

import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from rft_pipeline.campaign import load_campaign
from rft_pipeline.campaign.cycles import load_current
from rft_pipeline.pipeline import Pipeline
from rft_pipeline.pipeline.plan import plan
from rft_pipeline.stages.graph import nodes
from rft_pipeline.stages.judge_engines import JudgeEngines
from rft_pipeline.store import Home, Record
from tests.conftest import copy_root, new_home
from tests.judges.engines import Told
from tests.pipeline.test_alarms import alarms_of
from tests.prompts.test_cycle import begun, log, set_up
from tests.runs import edit, run
from tests.tiny_campaign import write_campaign
from tests.upkeep.small import verified

FIRST, EVALUATED = "tiny/round_1/eval_reports", "tiny/round_2/eval_reports"
RUBRIC: list[dict[str, Any]] = [
    {"name": "kind", "judge": {"protocol": "binary", "question": "Is it kind?"}},
    {"name": "has_an_e", "judge": {"protocol": "rule", "rule": {"name": "regex", "pattern": "e"}}},
]


class Judge:
    """Says what the label says, until it is swapped: then the contrary."""

    swapped = False

    def __call__(self, text: str) -> str:
        reply = re.findall(r"replied:\n`+\n(.*?)\n`+\n", text, re.DOTALL)[0]
        return "Yes" if reply.startswith("Gladly") != self.swapped else "No"


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> Judge:
    """The judge behind the server."""
    judge = Judge()
    monkeypatch.setattr(JudgeEngines, "asker", lambda self, by: Told(judge))
    return judge


@pytest.fixture
def served(tiny_campaign: Path) -> Path:
    """The tiny campaign with a served judge, alarms and labelled anchors."""
    write_served(tiny_campaign)
    return tiny_campaign


@pytest.fixture(scope="module")
def made_served(tiny_model: Path, empty_mlflow: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with `data` and `home` of the same, with all of round 1 made by the first judge; only to be copied."""
    root = tmp_path_factory.mktemp("served")
    folder = write_campaign(root, tiny_model)
    write_served(folder)
    with new_home(root, empty_mlflow) as monkeypatch:
        monkeypatch.setattr(JudgeEngines, "asker", lambda self, by: Told(Judge()))
        run(folder, rounds=1)
    return root


@pytest.fixture
def round_1(made_served: Path, tiny_campaign: Path) -> Path:
    """The tiny campaign with a served judge, with all of round 1 made."""
    copy_root(made_served, tiny_campaign)
    return tiny_campaign


def write_served(folder: Path) -> None:
    """Have the tiny campaign judged by a server, with alarms and labelled anchors."""
    (folder / "rubric.yaml").write_text(yaml.safe_dump({"criteria": RUBRIC}), encoding="utf-8")
    served = {"model": "served:judge", "server": {"url": "http://127.0.0.1:1/v1"}}
    settings = {"judge": served, "anchors": "anchors.jsonl", "alarms": {"resamples": 100}}
    for key, value in {**settings, "reward": {"min_group_share": 0.0}}.items():
        edit(folder / "campaign.yaml", key, value)
    anchors = [
        {
            "id": f"{word} {i}",
            "prompt": f"Where is parcel {i}?",
            "completion": f"{word}, {i}.",
            "labels": {"kind": kind},
        }
        for i in range(12)
        for kind, word in ((1, "Gladly"), (0, "Whatever"))
    ]
    lines = "".join(json.dumps(anchor) + "\n" for anchor in anchors)
    (folder / "anchors.jsonl").write_text(lines, encoding="utf-8")


def test_a_served_judge_that_becomes_another_is_told_by_its_anchors(round_1: Path, judge: Judge) -> None:
    judge.swapped = True
    report = run(round_1)["round_2/eval_reports"]

    first, second = alarms_of(report)["verdicts"]
    assert "judge_drift" not in first["causes"]
    assert (second["level"], second["moved_by"]) == ("stop", "judge")
    assert "judge_drift" in second["causes"]
    scored = pl.read_parquet(report.path("anchors.parquet"))
    assert scored.group_by("round").agg((pl.col("score") - pl.col("label")).abs().mean()).sort("round").rows() == [
        (0, 0.0),
        (1, 0.0),
        (2, 1.0),
    ]


WATCHES = {"name": "warm", "judge": {"protocol": "binary", "question": "Is it warm?"}}


def test_a_held_out_judge_that_becomes_another_is_warned_of(served: Path, judge: Judge) -> None:
    edit(served / "campaign.yaml", "alarms.held_out", [WATCHES])
    edit(served / "rubric.yaml", "criteria", RUBRIC[1:])
    anchors = (served / "anchors.jsonl").read_text(encoding="utf-8").replace('"kind"', '"has_an_e"')
    (served / "anchors.jsonl").write_text(anchors, encoding="utf-8")
    run(served, rounds=1)
    judge.swapped = True
    (step,) = [each for each in plan(load_campaign(served), Home.find()).steps if each.key == EVALUATED]
    assert step.work["judgements of warm"] >= 24
    report = run(served)["round_2/eval_reports"]
    _, second = alarms_of(report)["verdicts"]
    (drift,) = [each for each in second["findings"] if each["cause"] == "judge_drift"]
    assert (drift["level"], second["moved_by"] != "judge") == ("warn", True)
    assert drift["sentence"].startswith("Judge of warm: the scores of the same anchors moved by")
    assert second["anchors"]["warm"]["gap"]["mean"] is None


def test_a_drift_of_a_criterion_that_trains_nothing_stops_nothing(served: Path, judge: Judge) -> None:
    edit(served / "rubric.yaml", "criteria.0.weight", 0)
    run(served, rounds=1)
    judge.swapped = True
    _, second = alarms_of(run(served)["round_2/eval_reports"])["verdicts"]
    (drift,) = [each for each in second["findings"] if each["cause"] == "judge_drift"]
    assert (drift["level"], second["moved_by"] != "judge") == ("warn", True)


def test_rounds_that_are_trained_again_ask_a_served_judge_about_the_anchors_again(round_1: Path, judge: Judge) -> None:
    """What the judge said of them when the rounds were others is no answer."""
    run(round_1)
    edit(round_1 / "campaign.yaml", "training.learning_rate", 2e-3)
    run(round_1, rounds=1)
    judge.swapped = True
    (step,) = [each for each in plan(load_campaign(round_1), Home.find()).steps if each.key == EVALUATED]
    assert step.work["judgements of kind"] >= 24
    _, second = alarms_of(run(round_1)["round_2/eval_reports"])["verdicts"]
    assert (second["anchors"]["kind"]["gap"]["mean"], second["level"]) == (1.0, "stop")


def test_a_judge_that_becomes_another_before_the_first_round_of_a_later_training_is_told_too(
    round_1: Path, judge: Judge
) -> None:
    """What it said when it was asked first, in an earlier cycle say, is what it is held against."""
    (first,) = alarms_of(run(round_1, rounds=1)["round_1/eval_reports"])["verdicts"]
    assert "judge_drift" not in first["causes"]
    edit(round_1 / "campaign.yaml", "training.learning_rate", 2e-3)
    judge.swapped = True
    (step,) = [each for each in plan(load_campaign(round_1), Home.find()).steps if each.key == FIRST]
    report = run(round_1, rounds=1)["round_1/eval_reports"]
    (first,) = alarms_of(report)["verdicts"]
    assert (first["anchors"]["kind"]["gap"]["mean"], first["level"], first["moved_by"]) == (1.0, "stop", "judge")
    asked_anew = pl.read_parquet(report.path("asked.parquet"))["judge"].n_unique()
    assert (step.work["judgements of kind"] >= 24, asked_anew) == (True, 2)


def test_a_report_made_again_of_the_same_rounds_asks_a_served_judge_nothing(round_1: Path, judge: Judge) -> None:
    run(round_1)
    edit(round_1 / "campaign.yaml", "alarms.max_repetition", 2.5)
    step, *_ = [each for each in plan(load_campaign(round_1), Home.find()).steps if each.action == "run"]
    assert (step.key, step.work.keys() & {"judgements of kind"}) == ("tiny/round_1/eval_reports", set())
    judge.swapped = True
    _, second = alarms_of(run(round_1)["round_2/eval_reports"])["verdicts"]
    assert second["anchors"]["kind"]["shift"]["mean"] == 0.0


def test_the_evidence_goes_on_over_the_cycles_of_a_schedule(round_1: Path, judge: Judge) -> None:
    """A cycle's first round goes on from the last report before the cycle, and finds the same again when run again."""
    before = alarms_of(run(round_1)["round_2/eval_reports"])["verdicts"][-1]["anchors"]["kind"]
    assert before["looks"] == 2
    set_up(round_1)
    log(round_1, "monday")
    begun(round_1)
    report = run_in_force("round_1/eval_reports")
    scored = pl.read_parquet(report.path("anchors.parquet"))
    assert scored["round"].unique().sort().to_list() == [-2, -1, 0, 1]
    assert alarms_of(report)["verdicts"][-1]["anchors"]["kind"]["looks"] == 3
    assert run_in_force("round_1/eval_reports").cached
    assert verified().findings == []
    judge.swapped = True
    second = run_in_force("round_2/eval_reports")
    verdict = alarms_of(second)["verdicts"][-1]
    assert (verdict["anchors"]["kind"]["looks"], verdict["level"]) == (4, "stop")
    (said,) = [each["sentence"] for each in verdict["findings"] if each["cause"] == "judge_drift"]
    assert "after 4 rounds" in said


def test_what_an_edit_changes_starts_anew_with_the_next_cycle(round_1: Path, judge: Judge) -> None:
    set_up(round_1)
    log(round_1, "monday")
    begun(round_1)
    edit(round_1 / "campaign.yaml", "alarms.max_anchor_noise", 0.2)
    report = run_in_force("round_1/eval_reports")
    assert pl.read_parquet(report.path("anchors.parquet"))["round"].unique().sort().to_list() == [0, 1]
    assert alarms_of(report)["verdicts"][-1]["anchors"]["kind"]["looks"] == 1


def run_in_force(name: str) -> Record:
    """Run a stage of the cycle in force, and all that it needs."""
    home = Home.find()
    campaign = load_current(home, "tiny")
    for each in nodes(campaign):
        found = Pipeline(home).run(campaign, each.name)
        if each.name == name:
            return found
    raise AssertionError(name)
