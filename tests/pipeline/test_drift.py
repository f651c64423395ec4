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
from tests.judges.engines import Told
from tests.pipeline.test_alarms import alarms_of
from tests.prompts.test_cycle import begun, log, set_up
from tests.runs import edit, run
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
def judge(tiny_campaign: Path, monkeypatch: pytest.MonkeyPatch) -> Judge:
    """The judge of the tiny campaign, behind a server, with alarms and labelled anchors."""
    judge = Judge()
    monkeypatch.setattr(JudgeEngines, "asker", lambda self, by: Told(judge))
    (tiny_campaign / "rubric.yaml").write_text(yaml.safe_dump({"criteria": RUBRIC}), encoding="utf-8")
    served = {"model": "served:judge", "server": {"url": "http://127.0.0.1:1/v1"}}
    settings = {"judge": served, "anchors": "anchors.jsonl", "alarms": {"resamples": 100}}
    for key, value in {**settings, "reward": {"min_group_share": 0.0}}.items():
        edit(tiny_campaign / "campaign.yaml", key, value)
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
    (tiny_campaign / "anchors.jsonl").write_text(lines, encoding="utf-8")
    return judge


def test_a_served_judge_that_becomes_another_is_told_by_its_anchors(tiny_campaign: Path, judge: Judge) -> None:
    run(tiny_campaign, rounds=1)
    judge.swapped = True
    report = run(tiny_campaign)["round_2/eval_reports"]

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


def test_a_held_out_judge_that_becomes_another_is_warned_of(tiny_campaign: Path, judge: Judge) -> None:
    edit(tiny_campaign / "campaign.yaml", "alarms.held_out", [WATCHES])
    edit(tiny_campaign / "rubric.yaml", "criteria", RUBRIC[1:])
    anchors = (tiny_campaign / "anchors.jsonl").read_text(encoding="utf-8").replace('"kind"', '"has_an_e"')
    (tiny_campaign / "anchors.jsonl").write_text(anchors, encoding="utf-8")
    run(tiny_campaign, rounds=1)
    judge.swapped = True
    (step,) = [each for each in plan(load_campaign(tiny_campaign), Home.find()).steps if each.key == EVALUATED]
    assert step.work["judgements of warm"] >= 24
    report = run(tiny_campaign)["round_2/eval_reports"]
    _, second = alarms_of(report)["verdicts"]
    (drift,) = [each for each in second["findings"] if each["cause"] == "judge_drift"]
    assert (drift["level"], second["moved_by"] != "judge") == ("warn", True)
    assert drift["sentence"].startswith("Judge of warm: the scores of the same anchors moved by")
    assert second["anchors"]["warm"]["gap"]["mean"] is None


def test_a_drift_of_a_criterion_that_trains_nothing_stops_nothing(tiny_campaign: Path, judge: Judge) -> None:
    edit(tiny_campaign / "rubric.yaml", "criteria.0.weight", 0)
    run(tiny_campaign, rounds=1)
    judge.swapped = True
    _, second = alarms_of(run(tiny_campaign)["round_2/eval_reports"])["verdicts"]
    (drift,) = [each for each in second["findings"] if each["cause"] == "judge_drift"]
    assert (drift["level"], second["moved_by"] != "judge") == ("warn", True)


def test_rounds_that_are_trained_again_ask_a_served_judge_about_the_anchors_again(
    tiny_campaign: Path, judge: Judge
) -> None:
    """What the judge said of them when the rounds were others is no answer."""
    run(tiny_campaign)
    edit(tiny_campaign / "campaign.yaml", "training.learning_rate", 2e-3)
    run(tiny_campaign, rounds=1)
    judge.swapped = True
    (step,) = [each for each in plan(load_campaign(tiny_campaign), Home.find()).steps if each.key == EVALUATED]
    assert step.work["judgements of kind"] >= 24
    _, second = alarms_of(run(tiny_campaign)["round_2/eval_reports"])["verdicts"]
    assert (second["anchors"]["kind"]["gap"]["mean"], second["level"]) == (1.0, "stop")


def test_a_judge_that_becomes_another_before_the_first_round_of_a_later_training_is_told_too(
    tiny_campaign: Path, judge: Judge
) -> None:
    """What it said when it was asked first, in an earlier cycle say, is what it is held against."""
    (first,) = alarms_of(run(tiny_campaign, rounds=1)["round_1/eval_reports"])["verdicts"]
    assert "judge_drift" not in first["causes"]
    edit(tiny_campaign / "campaign.yaml", "training.learning_rate", 2e-3)
    judge.swapped = True
    (step,) = [each for each in plan(load_campaign(tiny_campaign), Home.find()).steps if each.key == FIRST]
    report = run(tiny_campaign, rounds=1)["round_1/eval_reports"]
    (first,) = alarms_of(report)["verdicts"]
    assert (first["anchors"]["kind"]["gap"]["mean"], first["level"], first["moved_by"]) == (1.0, "stop", "judge")
    asked_anew = pl.read_parquet(report.path("asked.parquet"))["judge"].n_unique()
    assert (step.work["judgements of kind"] >= 24, asked_anew) == (True, 2)


def test_a_report_made_again_of_the_same_rounds_asks_a_served_judge_nothing(tiny_campaign: Path, judge: Judge) -> None:
    run(tiny_campaign)
    edit(tiny_campaign / "campaign.yaml", "alarms.max_repetition", 2.5)
    step, *_ = [each for each in plan(load_campaign(tiny_campaign), Home.find()).steps if each.action == "run"]
    assert (step.key, step.work.keys() & {"judgements of kind"}) == ("tiny/round_1/eval_reports", set())
    judge.swapped = True
    _, second = alarms_of(run(tiny_campaign)["round_2/eval_reports"])["verdicts"]
    assert second["anchors"]["kind"]["shift"]["mean"] == 0.0


def test_the_evidence_goes_on_over_the_cycles_of_a_schedule(tiny_campaign: Path, judge: Judge) -> None:
    """A cycle's first round goes on from the last report before the cycle, and finds the same again when run again."""
    before = alarms_of(run(tiny_campaign)["round_2/eval_reports"])["verdicts"][-1]["anchors"]["kind"]
    assert before["looks"] == 2
    set_up(tiny_campaign)
    log(tiny_campaign, "monday")
    begun(tiny_campaign)
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


def test_what_an_edit_changes_starts_anew_with_the_next_cycle(tiny_campaign: Path, judge: Judge) -> None:
    run(tiny_campaign, rounds=1)
    set_up(tiny_campaign)
    log(tiny_campaign, "monday")
    begun(tiny_campaign)
    edit(tiny_campaign / "campaign.yaml", "alarms.max_anchor_noise", 0.2)
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
