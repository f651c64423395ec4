"""`rft diff` as a user meets it."""

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from rft_pipeline.cli.show_diff import TEXT
from rft_pipeline.cli.words import plain
from tests.cli.small import Rft, assert_one_message
from tests.runs import edit, run

SCORES = "tiny/round_1/judge_scores"


def test_two_records_are_shown_with_inputs_criteria_and_rollouts(rft: Rft, finished_copy: Path) -> None:
    edit(finished_copy / "rubric.yaml", "criteria.2.judge.rule.min_words", 3)
    run(finished_copy, ["rubric", "round_1/judge_scores"])
    said = rft("diff", f"{SCORES}@previous", SCORES)
    assert said.code == 0
    assert 'criterion "says_enough": judge.rule.min_words 6 → 3' in said.out
    table, moved = said.out.split("rewards that differ")
    rows = {line.split()[0]: line.split()[1:] for line in table.splitlines() if line.strip()}
    assert rows["has_an_e"][:4] == ["0.14", "0.14", "16", "1.000"]
    assert rows["says_enough"][:3] == ["0.29", "0.29", "16"]
    assert rows["reward"][0] == "16"
    assert moved.splitlines()[1].startswith("1. 0.")
    assert "   prompt Please help with the " in moved
    assert "   completion " in moved


def test_as_json_nothing_is_cut_or_left_out(rft: Rft, finished_home: Path) -> None:
    found = json.loads(rft("diff", SCORES, "tiny/round_2/judge_scores", "--json").out)
    assert set(found) == {"a", "b", "same_content", "differences", "rows", "metrics", "scores"}
    assert found["a"].startswith(f"{SCORES}/")
    assert found["rows"]["judgements"] == {"a": 64, "b": 64}
    assert found["scores"]["both"] == 0
    assert set(found["scores"]["criteria"]) == {"polite", "relevant", "says_enough", "has_an_e"}
    assert json.loads(rft("diff", "tiny/rubric", "tiny/rubric", "--json").out)["scores"] is None


def test_two_rubrics_are_compared_on_the_rollouts_of_a_round(rft: Rft, finished_copy: Path) -> None:
    old, new = finished_copy / "rubric.yaml", finished_copy / "new.yaml"
    shutil.copy(old, new)
    edit(new, "criteria.0.judge.positive", "You are a very warm and kind agent.")
    said = rft("diff", "tiny", "--rubric", str(old), str(new), "--round", "1")
    assert said.code == 0
    assert "on tiny/round_1/rollouts/" in said.out
    assert "judgements made: 16" in said.out
    assert "diff: 16/16 judgements of polite" in said.err
    found = json.loads(rft("diff", "tiny", "--rubric", str(old), str(new), "--round", "1", "--json").out)
    assert found["made"] == 0
    assert len(found["scores"]["moved"]) == 10
    assert set(found["scores"]["moved"][0]) >= {"prompt", "completion", "reward_a", "reward_b", "movers"}


@pytest.mark.parametrize(
    "arguments", [("tiny",), (SCORES, SCORES, "--round", "1"), (SCORES, SCORES, "--rubric", "a.yaml", "b.yaml")]
)
def test_arguments_that_do_not_belong_together_are_a_usage_error(
    rft: Rft, finished_home: Path, arguments: tuple[str, ...]
) -> None:
    said = rft("diff", *arguments)
    assert said.code == 2
    assert "name two records, or one campaign with --rubric OLD NEW" in said.err


def test_what_is_not_there_is_one_message(rft: Rft, finished_home: Path) -> None:
    assert_one_message(rft("diff", "[bold]x[/]", SCORES), "no record [bold]x[/]; name a record by its key")
    assert_one_message(rft("diff", "tinny", "--rubric", "a.yaml", "b.yaml"), "no campaign 'tinny'")
    assert_one_message(rft("diff", "tiny", "--rubric", "a.yaml", "b.yaml"), "a.yaml: no such file")


def test_a_completion_is_no_markup_and_steers_no_terminal(rft: Rft, finished_copy: Path) -> None:
    edit(finished_copy / "rubric.yaml", "criteria.3.weight", 5)
    batch = run(finished_copy, ["rubric", "round_1/reward_batches"])["round_1/reward_batches"]
    path = batch.path("reward_batches.parquet")
    nasty = "[red]a[/red]\n[/] :smile: b\x1b[2J\u202ec\\"
    pl.read_parquet(path).with_columns(completion=pl.lit(nasty)).write_parquet(path)
    said = rft("diff", f"{batch.key}@previous", batch.key)
    assert said.code == 0
    shown = [line.strip() for line in said.out.splitlines() if "completion" in line]
    assert set(shown) == {"completion [red]a[/red] [/] :smile: b\ufffd[2J\ufffdc\\"}
    assert "\x1b" not in said.out


def test_a_long_text_is_cut() -> None:
    assert plain("x" * 1000, TEXT) == "x" * 399 + "…"
    assert plain("x" * 400, TEXT) == "x" * 400
