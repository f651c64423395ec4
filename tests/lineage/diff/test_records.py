"""Records of the tiny campaign, compared after an edit."""

import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from rft_pipeline.errors import ConfigError, StoreError
from rft_pipeline.lineage.diff.naming import named
from rft_pipeline.lineage.diff.records import RecordDiff, compare_records
from rft_pipeline.store import Home, RecordStore
from tests.runs import edit, run

SCORES = "tiny/round_1/judge_scores"
BATCH = "tiny/round_1/reward_batches"
NAMES = ["polite", "relevant", "says_enough", "has_an_e"]


def diff(a: str, b: str) -> RecordDiff:
    records = RecordStore(Home.find().store)
    return compare_records(records, named(records, a), named(records, b))


def test_a_record_against_itself_differs_in_nothing(finished_home: Path) -> None:
    for record in RecordStore(Home.find().store).all("tiny"):
        found = diff(record.key, record.fingerprint)
        assert found.same_content
        assert found.differences == []
        assert all(a == b for a, b in [*found.rows.values(), *found.metrics.values()])
        assert (found.scores is not None) == (record.payload["stage"] in ("judge_scores", "reward_batches"))
        if found.scores is not None:
            assert (found.scores.both, found.scores.moved) == (16, [])


def test_another_rule_moves_its_criterion_and_the_rewards_by_its_weight(finished_copy: Path) -> None:
    before = named(RecordStore(Home.find().store), SCORES)
    edit(finished_copy / "rubric.yaml", "criteria.2.judge.rule.min_words", 3)
    run(finished_copy, ["rubric", "round_1/judge_scores", "round_1/reward_batches"])
    found = diff(before.address, SCORES)
    assert found.differences == ['criterion "says_enough": judge.rule.min_words 6 → 3']
    assert not found.same_content
    assert found.rows["made"] == (64, 16)
    assert found.scores is not None
    assert list(found.scores.criteria) == NAMES
    for name in ("polite", "relevant", "has_an_e"):
        assert found.scores.criteria[name].shift == 0

    rows = pl.read_parquet(before.path("judge_scores.parquet")).filter(criterion="says_enough")
    doubled = rows["score"].map_elements(
        lambda score: min(1.0, 2 * score), pl.Float64
    )  # words ÷ 3 in place of words ÷ 6
    shift = found.scores.criteria["says_enough"]
    assert shift.scored == 16
    assert shift.mean_b == pytest.approx(sum(doubled) / 16)
    assert found.scores.reward.shift == pytest.approx(shift.shift / 3.5)  # type: ignore[operator]
    moved = found.scores.moved[0]
    assert [mover.criterion for mover in moved.movers] == ["says_enough"]
    assert moved.movers[0].change == pytest.approx(moved.reward_b - moved.reward_a)
    assert moved.prompt.startswith("Please help with the ")

    of_batches = diff(f"{BATCH}@previous", BATCH)
    assert of_batches.scores == found.scores
    assert of_batches.differences == [f"input judge_scores: {before.address} → {found.b.address}"]


def test_another_weight_shows_in_the_batches_as_a_weight(finished_copy: Path) -> None:
    before = named(RecordStore(Home.find().store), BATCH)
    edit(finished_copy / "rubric.yaml", "criteria.3.weight", 1)
    run(finished_copy, ["rubric", "round_1/judge_scores", "round_1/reward_batches"])
    found = diff(before.fingerprint, BATCH)
    assert "weights.has_an_e: 0.1429 → 0.25" in found.differences
    assert found.scores is not None
    shift = found.scores.criteria["has_an_e"]
    assert (shift.weight_a, shift.weight_b, shift.shift) == (pytest.approx(1 / 7), 0.25, 0)
    for move in found.scores.moved:
        assert sum(mover.change for mover in move.movers) == pytest.approx(move.reward_b - move.reward_a)
    assert diff("tiny/rubric@previous", "tiny/rubric").differences == ['criterion "has_an_e": weight 0.5 → 1']


def test_two_rounds_have_no_rollout_in_common_and_name_the_records_they_were_made_from(finished_home: Path) -> None:
    found = diff(SCORES, "tiny/round_2/judge_scores")
    records = RecordStore(Home.find().store)
    first, second = (named(records, f"tiny/round_{n}/rollouts").address for n in (1, 2))
    assert found.differences == [f"input rollouts: {first} → {second}"]
    assert found.scores is not None
    assert (found.scores.both, found.scores.only_a, found.scores.only_b) == (0, 16, 16)
    assert found.metrics["score_polite"] == (found.a.metrics["score_polite"], found.b.metrics["score_polite"])


def test_eval_reports_show_the_means_of_the_criteria_and_the_change_against_base(finished_home: Path) -> None:
    found = diff("tiny/round_1/eval_reports", "tiny/round_2/eval_reports")
    stored = json.loads(found.b.path("report.json").read_text(encoding="utf-8"))
    assert found.metrics["eval_delta"][1] == stored["delta"]["mean"]
    for name in NAMES:
        pair = tuple(each["criteria"][name]["mean"] for each in stored["rounds"][1:])
        assert found.metrics[f"eval_{name}"] == pytest.approx(pair)
    checkpoint = named(RecordStore(Home.find().store), "tiny/round_2/checkpoints").address
    assert found.differences == [f"input checkpoints_2: none → {checkpoint}"]


def test_a_longer_text_is_shown_to_where_it_differs(finished_copy: Path) -> None:
    persona = "You are a polite and helpful support agent"
    edit(finished_copy / "rubric.yaml", "criteria.0.judge.positive", f"{persona} of a shop.")
    run(finished_copy, ["rubric"])
    (line,) = diff("tiny/rubric@previous", "tiny/rubric").differences
    assert line == f'criterion "polite": judge.positive {persona}. → {persona} of a shop.'


def test_two_stages_cannot_be_compared(finished_home: Path) -> None:
    with pytest.raises(ConfigError, match=r"is of stage judge_scores, .* of reward_batches; name two records of one"):
        diff(SCORES, BATCH)


def test_scores_whose_rollouts_are_gone_are_said_to_have_no_reward(finished_copy: Path) -> None:
    record = named(RecordStore(Home.find().store), "tiny/round_1/rollouts")
    record.path("rollouts.parquet").unlink()
    with pytest.raises(StoreError, match=f"made from {record.address}, which is no longer in the store"):
        diff(SCORES, SCORES)


def test_judge_scores_that_do_not_name_what_they_read_are_refused(finished_copy: Path) -> None:
    records = RecordStore(Home.find().store)
    a, b = (replace(named(records, f"tiny/round_{n}/judge_scores"), upstream={}) for n in (1, 2))
    with pytest.raises(StoreError, match="does not name the rollouts it was made from"):
        compare_records(records, a, b)
