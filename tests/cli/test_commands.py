"""What the commands show, and how errors are said."""

import json
import re
import shutil
from pathlib import Path

import pytest

from rft_pipeline.campaign import load_campaign
from rft_pipeline.cli import console
from rft_pipeline.stages.graph import nodes
from rft_pipeline.store import Home, RecordStore
from tests.cli.small import Rft, Said, assert_one_message
from tests.runs import edit, run

COMMANDS = ("check", "plan", "run", "audit", "report", "diff", "trace", "verify", "gc", "models", "ui")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_an_example(rft: Rft, command: str) -> None:
    said = rft(command, "--help")
    assert said.code == 0
    assert f"Example: rft {command}" in said.out


def test_without_a_command_the_commands_are_listed(rft: Rft) -> None:
    said = rft()
    assert all(
        f" {command} " in said.out + said.err for command in ("check", "plan", "run", "report", "diff", "models", "ui")
    )


def test_check_lists_the_criteria_and_warns_on_stderr(rft: Rft, tiny_campaign: Path) -> None:
    said = rft("check", "tiny")
    assert said.code == 0
    assert "tiny: 12 train prompts, 6 eval prompts, 0 anchors, 2 rounds" in said.out
    assert "rule: length" in said.out
    assert said.out.rstrip().endswith(f"ok, {said.err.count('warning ')} warnings")
    assert "warning" in said.err


def plan_rows(said: Said) -> dict[str, str]:
    """Stage → the rest of its row, without the estimate, and the reasons below it."""
    rows: dict[str, str] = {}
    for each in said.out.splitlines():
        if each.startswith("    ") and rows:
            rows[list(rows)[-1]] += f" {each.strip()}"
        elif re.search(" (run|skip) ", each) and not each.startswith("about"):
            stage, rest = each.split(maxsplit=1)
            rows[stage] = re.sub(r" (\d+ (min|s) ?)+$", "", " ".join(rest.split()))
    return rows


def test_plan_says_what_would_run_and_why(rft: Rft, finished_copy: Path) -> None:
    edit(finished_copy / "rubric.yaml", "criteria.0.judge.positive", "You are a very warm and kind agent.")
    said = rft("plan", "tiny")
    rows = plan_rows(said)
    assert rows["round_1/judge_scores"] == "skip 0 64 kept (on_rubric_change: continue)"
    assert rows["round_2/rollouts"] == "skip 0 16"
    assert rows["round_2/judge_scores"] == 'run 16 judgements 48 criterion "polite": text changed'
    assert re.search(r"^about \d+ s, at the rates measured last$", said.out, re.MULTILINE)


def test_plan_from_the_first_round_keeps_none(rft: Rft, finished_copy: Path) -> None:
    edit(finished_copy / "rubric.yaml", "criteria.0.judge.positive", "You are a very warm and kind agent.")
    rows = plan_rows(rft("plan", "tiny", "--from", "round_1"))
    assert rows["round_1/rollouts"] == "skip 0 16"
    assert rows["round_1/judge_scores"] == 'run 16 judgements 48 criterion "polite": text changed'
    assert (
        rows["round_2/rollouts"]
        == "run 16 rollouts 0 an earlier stage runs: round_1/checkpoints; 4 prompts × 4 replies"
    )


def test_before_the_first_run_the_plan_has_units_and_no_time(
    rft: Rft, tiny_campaign: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = rft("plan", "tiny")
    rows = plan_rows(said)
    assert rows["prompts"] == "run 1 record 0 never made"
    assert rows["round_1/rollouts"] == "run 16 rollouts 0 earlier stages run; 4 prompts × 4 replies"
    assert rows["round_1/judge_scores"] == "run 64 judgements 0 earlier stages run; 16 rollouts × 4 criteria"
    assert rows["round_2/eval_reports"].endswith("; 6 held-out prompts × 3 policies (base, round 1, round 2)")
    assert rows["round_1/checkpoints"] == "run 1 to 2 steps 0 earlier stages run"
    assert "?" not in said.out
    assert said.out.splitlines()[-2:] == [
        "in all: 62 rollouts, 248 judgements, 2 to 4 steps",
        "time: unknown until the first run, which measures this machine",
    ]
    monkeypatch.setattr(console.out, "width", 80)
    narrow = rft("plan", "tiny").out
    assert all(f"{stage} " in narrow for stage in rows)
    assert max(map(len, narrow.splitlines())) <= 80


def test_plan_with_another_rubric_answers_before_anything_is_edited(rft: Rft, finished_copy: Path) -> None:
    other = finished_copy / "other.yaml"
    shutil.copy(finished_copy / "rubric.yaml", other)
    edit(other, "criteria.2.judge.rule.min_words", 5)
    said = rft("plan", "tiny", "--rubric", str(other))
    changed = 'criterion "says_enough": rule.min_words 6 → 5'
    assert plan_rows(said)["round_2/judge_scores"] == f"run 16 judgements 48 {changed}"
    assert plan_rows(rft("plan", "tiny"))["round_2/judge_scores"] == "skip 0 64"


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ("round_3", "round_3: tiny has rounds 1 to 2"),
        ("second", "--from second: must be round_1, round_2, …"),
    ],
)
def test_a_round_that_is_not_there_is_refused(rft: Rft, finished_home: Path, start: str, message: str) -> None:
    assert_one_message(rft("plan", "tiny", "--from", start), message)


def test_a_round_whose_start_was_never_made_is_refused(rft: Rft, tiny_campaign: Path) -> None:
    assert_one_message(
        rft("plan", "tiny", "--from", "round_2"), "round_2 starts from tiny/round_1/checkpoints, which was never made"
    )


def test_plan_as_json_is_a_list_of_stages(rft: Rft, finished_home: Path) -> None:
    stages = json.loads(rft("plan", "tiny", "--json").out)["stages"]
    assert len(stages) == 15
    assert stages[4] == {
        "key": "tiny/round_1/rollouts",
        "action": "skip",
        "reasons": [],
        "rows": {"make": 0, "have": 16},
        "work": {},
        "made_up_of": [],
        "ranges": {},
        "cause": None,
        "seconds": 0.0,
    }


def test_report_shows_base_and_every_round(rft: Rft, finished_home: Path) -> None:
    said = rft("report", "tiny")
    assert said.code == 0
    head, *rows = said.out.splitlines()
    assert "base" in head
    assert "round 2" in head
    names = [row.split()[0] for row in rows if row.strip()]
    assert names[0] == "reward"
    assert {"polite", "relevant", "says_enough", "has_an_e", "report:"} <= set(names)


def test_report_as_json_holds_rounds_delta_and_the_page(rft: Rft, finished_home: Path) -> None:
    report = json.loads(rft("report", "tiny", "--json").out)
    assert set(report) == {
        *(
            "rounds",
            "baseline",
            "start",
            "delta",
            "alarms",
            "audit",
            "kept",
            "reweighted",
            "generations",
            "preferences",
        ),
        *("promotion", "report"),
    }
    assert (report["alarms"], report["audit"], report["generations"]) == (None, None, None)  # the campaign has none
    assert report["promotion"]["promoted"] == 1
    assert Path(report["promotion"]["page"]).is_file()
    assert [each["round"] for each in report["rounds"]] == [0, 1, 2]
    for each in report["rounds"]:
        assert set(each) == {"round", "name", "reward", "lower95", "upper95", "criteria"}
        assert each["lower95"] <= each["reward"] <= each["upper95"]
        assert set(each["criteria"]) == {"polite", "relevant", "says_enough", "has_an_e"}
    change = report["rounds"][2]["reward"] - report["rounds"][0]["reward"]
    assert report["delta"]["mean"] == pytest.approx(change)
    assert Path(report["report"]).read_text(encoding="utf-8").startswith("<!doctype html>")


def test_numbers_nobody_can_know_are_dashes(rft: Rft, finished_copy: Path) -> None:
    record = RecordStore(Home.find().store).current("tiny/round_2/eval_reports")
    assert record is not None
    path = record.path("report.json")
    stored = json.loads(path.read_text(encoding="utf-8"))
    stored["rounds"][0] |= {"reward": None, "lower95": None, "upper95": None}
    stored["delta"] = {"mean": None, "lower95": None, "upper95": None}
    path.write_text(json.dumps(stored), encoding="utf-8")
    said = rft("report", "tiny")
    assert said.code == 0
    assert "– … –" in said.out
    assert "last round minus base: – (– … –)" in said.out


def test_models_says_where_a_model_lies(rft: Rft, tiny_model: Path, tiny_campaign: Path) -> None:
    said = rft("models", str(tiny_model))
    assert said.code == 0
    assert said.out.splitlines()[0] == f"{tiny_model}: {tiny_model}"


def test_a_campaign_that_is_not_there_is_answered_with_those_that_are(rft: Rft, tiny_campaign: Path) -> None:
    for command in ("check", "plan", "run", "report"):
        assert_one_message(rft(command, "tinny"), "no campaign 'tinny' (did you mean 'tiny'?)", "there are: tiny")


def test_the_folder_is_said_where_it_is_not_the_current_one(
    rft: Rft, tiny_campaign: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RFT_DATA")
    monkeypatch.chdir(tiny_campaign / "prompts")
    said = rft("check", "tiny")
    assert (said.code, said.err.splitlines()[0]) == (0, f"campaigns in {tiny_campaign.parent}")
    monkeypatch.chdir(tiny_campaign.parents[1])
    assert "campaigns in" not in rft("check", "tiny").err
    shutil.rmtree(tiny_campaign)
    for command in (("check",), ("check", "tiny")):
        assert_one_message(rft(*command), f"no campaign in {tiny_campaign.parent}: run rft in a folder whose data/")


@pytest.mark.parametrize("command", ["check", "plan", "run"])
def test_a_wrong_key_in_the_rubric_is_named_with_what_is_allowed(rft: Rft, tiny_campaign: Path, command: str) -> None:
    edit(tiny_campaign / "rubric.yaml", "criteria.0.wieght", 2)
    said = rft(command, "tiny")
    assert_one_message(
        said, "rubric.yaml", 'criterion "polite"', "unknown key 'wieght' (did you mean 'weight'?)", "allowed: "
    )


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_corrupt_parquet_file_is_named(rft: Rft, tiny_campaign: Path, command: str) -> None:
    (tiny_campaign / "prompts" / "train.parquet").write_bytes(b"PAR1 and then nothing of use")
    edit(tiny_campaign / "campaign.yaml", "prompts.train", "prompts/train.parquet")
    assert_one_message(rft(command, "tiny"), "train.parquet")


def test_a_model_folder_that_is_not_there_is_named_before_anything_runs(rft: Rft, tiny_campaign: Path) -> None:
    edit(tiny_campaign / "campaign.yaml", "policy.model", "/nowhere/model")
    assert_one_message(rft("run", "tiny"), "'/nowhere/model': no such folder")
    assert not (Home.find().store / "tiny").exists()


def test_a_prompts_file_that_is_not_there_is_named(rft: Rft, tiny_campaign: Path) -> None:
    (tiny_campaign / "prompts" / "eval.jsonl").unlink()
    for command in ("check", "plan", "run"):
        assert_one_message(rft(command, "tiny"), "eval.jsonl")


def test_an_eval_prompt_that_was_trained_on_is_refused(rft: Rft, tiny_campaign: Path) -> None:
    with (tiny_campaign / "prompts" / "eval.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"id": "eval-99", "prompt": "please help with the LAMP!"}) + "\n")
    for command in ("check", "run"):
        assert_one_message(rft(command, "tiny"), "eval-99", "training does not use")


def test_more_rounds_than_the_campaign_has_are_refused(rft: Rft, tiny_campaign: Path) -> None:
    assert_one_message(rft("run", "tiny", "--rounds", "3"), "--rounds 3: tiny has rounds 1 to 2", "campaign.yaml")


def test_errors_before_a_run_leave_every_record_as_it_was(rft: Rft, finished_copy: Path) -> None:
    store = RecordStore(Home.find().store)
    names = [node.key for node in nodes(load_campaign(finished_copy))]
    before = [store.current(name) for name in names]
    assert None not in before
    assert_one_message(rft("run", "tiny", "--rounds", "3"), "--rounds 3")
    edit(finished_copy / "campaign.yaml", "judge.model", "/nowhere/judge")
    assert_one_message(rft("run", "tiny"), "/nowhere/judge")
    edit(finished_copy / "rubric.yaml", "criteria.0.wieght", 2)
    assert_one_message(rft("run", "tiny"), "wieght")
    assert [store.current(name) for name in names] == before


def test_rounds_below_one_are_a_usage_error(rft: Rft, tiny_campaign: Path) -> None:
    said = rft("run", "tiny", "--rounds", "0")
    assert said.code == 2
    assert "--rounds" in said.err


def test_a_report_before_the_first_run_says_what_to_do(rft: Rft, tiny_campaign: Path) -> None:
    assert_one_message(rft("report", "tiny"), "run `rft run tiny`")


def test_brackets_in_a_message_are_text(rft: Rft, tiny_campaign: Path) -> None:
    assert_one_message(rft("report", "[bold]x[/]"), "no campaign '[bold]x[/]'")


def test_a_report_of_the_first_round_is_shown_while_the_second_is_missing(rft: Rft, finished_copy: Path) -> None:
    edit(finished_copy / "campaign.yaml", "rounds", 3)
    assert len(json.loads(rft("report", "tiny", "--json").out)["rounds"]) == 3
    run(finished_copy, ["prompts"])
    assert plan_rows(rft("plan", "tiny"))["round_3/eval_reports"].startswith("run ")
