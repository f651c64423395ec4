"""Two rubrics on the rollouts of the tiny campaign: 16 a round, all judged by the rubric in force."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rft_pipeline.campaign import load_campaign
from rft_pipeline.errors import ConfigError, StoreError
from rft_pipeline.lineage.diff.rubrics import RubricDiff, compare_rubrics
from rft_pipeline.store import Home, judgements_table
from tests.runs import edit, engines_counted, run


@pytest.fixture
def new(finished_copy: Path) -> Path:
    """A copy of the rubric in force, to be edited."""
    path = finished_copy / "new.yaml"
    shutil.copy(finished_copy / "rubric.yaml", path)
    return path


def diff(new: Path, round_: int | None = None) -> RubricDiff:
    return compare_rubrics(load_campaign(new.parent), Home.find(), new.parent / "rubric.yaml", new, round_)


def judgements() -> int:
    return judgements_table(Home.find().store).rows().collect().height


def test_another_persona_asks_one_judge_once_and_keeps_what_it_said(new: Path) -> None:
    edit(new, "criteria.0.judge.positive", "You are a very warm and kind agent.")
    before = judgements()
    with engines_counted() as loaded:
        first = diff(new)
        second = diff(new)
    assert (len(loaded), first.made, second.made) == (1, 16, 0)
    assert judgements() == before + 16
    assert second.scores == first.scores
    assert first.differences == [
        'criterion "polite": judge.positive You are a polite and helpful support agent. → '
        "You are a very warm and kind agent."
    ]
    assert first.scores.criteria["polite"].shift != 0
    assert first.scores.criteria["relevant"].shift == 0


def test_a_run_after_the_edit_pays_for_nothing_again(new: Path) -> None:
    edit(new, "criteria.0.judge.positive", "You are a very warm and kind agent.")
    diff(new, round_=1)
    shutil.copy(new, new.parent / "rubric.yaml")
    with engines_counted() as loaded:
        records = run(new.parent, ["rubric", "round_1/judge_scores"])
    assert (loaded, records["round_1/judge_scores"].rows["made"]) == ([], 0)


def test_another_weight_and_gate_ask_nobody_and_move_the_reward(new: Path) -> None:
    edit(new, "criteria.3.weight", 1)
    edit(new, "criteria.2.gate", 0.9)
    with engines_counted() as loaded:
        found = diff(new)
    assert (loaded, found.made) == ([], 0)
    assert found.differences == [
        'criterion "has_an_e": weight 0.5 → 1',
        'criterion "says_enough": gate none → 0.9',
    ]
    assert found.scores.criteria["has_an_e"].rank_correlation == pytest.approx(1)
    assert all(mover.gate for move in found.scores.moved for mover in move.movers if move.reward_b == 0)
    assert any(mover.gate for move in found.scores.moved for mover in move.movers)


def test_an_added_or_removed_criterion_is_named(new: Path) -> None:
    extra = {"name": "asks", "judge": {"protocol": "rule", "rule": {"name": "regex", "pattern": "[?]"}}}
    edit(new, "criteria.3", extra)
    found = diff(new)
    assert found.differences == ['criterion "asks": new', 'criterion "has_an_e": gone']
    assert found.made == 16
    assert found.scores.criteria["has_an_e"].mean_b is None
    assert found.scores.criteria["asks"].mean_a is None


def test_the_rollouts_are_the_last_finished_rounds_unless_another_is_named(new: Path) -> None:
    assert diff(new).rollouts.key == "tiny/round_2/rollouts"
    assert diff(new, round_=1).rollouts.key == "tiny/round_1/rollouts"
    shutil.rmtree(Home.find().store / "tiny" / "round_2" / "eval_reports")
    assert diff(new).rollouts.key == "tiny/round_1/rollouts"
    with pytest.raises(StoreError, match="tiny/round_3/rollouts: no record"):
        diff(new, round_=3)
    shutil.rmtree(Home.find().store / "tiny" / "round_1" / "eval_reports")
    with pytest.raises(StoreError, match="tiny has no finished round; run `rft run tiny`"):
        diff(new)


def test_a_rubric_that_cannot_be_used_is_named(new: Path) -> None:
    edit(new, "criteria.0.wieght", 2)
    with pytest.raises(ConfigError, match=r"new\.yaml: criterion \"polite\": .*did you mean 'weight'"):
        diff(new)


def test_what_is_stored_is_compared_without_the_heavy_libraries(finished_home: Path) -> None:
    code = (
        "import sys\n"
        "from rft_pipeline.cli.app import app\n"
        f"old = new = {str(finished_home / 'rubric.yaml')!r}\n"
        "app(['diff', 'tiny', '--rubric', old, new], standalone_mode=False)\n"
        "app(['diff', 'tiny/round_1/judge_scores', 'tiny/round_2/judge_scores'], standalone_mode=False)\n"
        "heavy = {'torch', 'transformers', 'trl', 'mlflow', 'dagster', 'sklearn', 'altair', 'datasets'}\n"
        "print(sorted(heavy & sys.modules.keys()))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
