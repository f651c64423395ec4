"""The shipped campaign `code_generation`: its solutions pass, its anchors get what a person said, and it runs."""

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from rft_pipeline.campaign import Campaign, load_campaign
from rft_pipeline.check import check_campaign
from rft_pipeline.judges.rule import RuleJudge
from rft_pipeline.rules import Rollout, RuleScore
from tests.runs import edit, run

FOLDER = Path(__file__).parents[2] / "data" / "code_generation"


@pytest.fixture(scope="module")
def campaign() -> Campaign:
    return load_campaign(FOLDER)


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (FOLDER / name).read_text(encoding="utf-8").splitlines()]


def scores(campaign: Campaign, criterion: str, replies: list[tuple[dict[str, Any], str]]) -> list[RuleScore]:
    [judge] = [each.judge for each in campaign.rubric.criteria if each.name == criterion]
    assert isinstance(judge, RuleJudge)
    rollouts = [
        Rollout(row["prompt"], text, row.get("finish_reason", "stop"), {"tests": row["tests"]}) for row, text in replies
    ]
    found = dict(judge.rule.decide_all(rollouts))
    return [found[place] for place in range(len(replies))]


def test_check_is_green(tmp_path: Path) -> None:
    result = check_campaign(FOLDER, tmp_path, tmp_path)
    assert result.warnings == ()
    assert (result.train_prompts, result.eval_prompts, result.anchors) == (64, 32, 51)


def test_each_reference_passes_all_tests_of_its_task(campaign: Campaign) -> None:
    found = scores(campaign, "correct", [(row, row["reference"]) for row in rows("prompts/train.jsonl")])
    assert [each for each in found if each.score != 1] == []


def test_an_empty_function_passes_no_held_out_task(campaign: Campaign) -> None:
    held_out = rows("prompts/eval.jsonl")
    assert all(len(row["tests"]) >= 3 for row in held_out)
    found = scores(campaign, "correct", [(row, "```python\npass\n```") for row in held_out])
    assert [each for each in found if each.score != 0] == []


@pytest.mark.parametrize("criterion", ["correct", "answer_only", "brief"])
def test_the_rules_agree_with_the_label_of_every_anchor(campaign: Campaign, criterion: str) -> None:
    anchors = rows("anchors.jsonl")
    found = scores(campaign, criterion, [(row, row["completion"]) for row in anchors])
    wrong = [
        (row["id"], row["kind"], each)
        for row, each in zip(anchors, found, strict=True)
        if (each.score == 1) is not (row["labels"][criterion] == 1) or each.score is None
    ]
    assert wrong == []
    if criterion == "correct":
        assert {each.score for each in found} == {0, 1}


@pytest.fixture
def small_home(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The shipped campaign with the tiny model, which writes no programs: 4 tasks with 4 replies each, and two rules
    that tell its replies apart."""
    folder = tmp_path / "data" / "code_generation"
    shutil.copytree(FOLDER, folder)
    for split, count in (("train", 4), ("eval", 4)):
        path = folder / "prompts" / f"{split}.jsonl"
        path.write_text("".join(path.read_text(encoding="utf-8").splitlines(keepends=True)[:count]), encoding="utf-8")
    settings = yaml.safe_load((folder / "campaign.yaml").read_text(encoding="utf-8"))
    runtime = {"batch_size": 8, "dtype": "float32", "device": "cpu"}
    settings["policy"]["model"] = str(tiny_model)
    settings["rollouts"] |= {"prompts_per_round": 4, "group_size": 4, "runtime": runtime}
    settings["training"] |= {"batch_size": 8, "steps_per_generation": None, "runtime": {"device": "cpu"}}
    settings["training"]["warm_start"] |= {"batch_size": 2}
    settings["evaluation"] |= {"samples_per_prompt": 1, "resamples": 100, "runtime": runtime}
    settings["rollouts"]["sampling"]["max_new_tokens"] = 8
    (folder / "campaign.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    edit(folder / "rubric.yaml", "criteria.1.judge.rule.pattern", "e")
    edit(folder / "rubric.yaml", "criteria.2.judge.rule.min_words", 6)
    monkeypatch.setenv("RFT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RFT_DATA", str(tmp_path / "data"))
    return folder


def test_a_round_runs_with_the_tiny_model_and_every_program_is_judged(small_home: Path) -> None:
    records = run(small_home)
    batch = pl.read_parquet(records["round_1/reward_batches"].path("reward_batches.parquet"))
    assert batch.height == 16
    scores = pl.read_parquet(records["round_1/judge_scores"].path("judge_scores.parquet"))
    correct = scores.filter(criterion="correct")
    assert correct["status"].to_list() == ["scored"] * 16
    assert correct["reason"].str.contains("tests pass").all()
