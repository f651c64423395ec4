"""Two judgings of four rollouts, with numbers to be checked by hand."""

import json
from collections.abc import Mapping, Sequence

import polars as pl
import pytest

from rft_pipeline.campaign import Reward
from rft_pipeline.lineage.diff.scores import MOVED, ScoredRollouts, compare_scores
from rft_pipeline.rewards.batch import make_batch


def judging(
    scores: Mapping[str, Sequence[float | None]],
    weights: Mapping[str, float] | None = None,
    gates: Mapping[str, float] | None = None,
    first: int = 0,
) -> ScoredRollouts:
    """Rollouts r00, r01, … of one prompt, scored by criteria of equal weight if nothing else is said."""
    count = len(next(iter(scores.values())))
    ids = [f"r{first + i:02d}" for i in range(count)]
    rollouts = pl.DataFrame(
        {
            "rollout_id": ids,
            "prompt_id": "p",
            "messages": json.dumps([{"role": "user", "content": "Where is it?"}]),
            "completion": [f"reply {i}" for i in ids],
        }
    )
    rows = [
        {"rollout_id": rollout_id, "criterion": name, "score": score}
        for name, column in scores.items()
        for rollout_id, score in zip(ids, column, strict=True)
    ]
    table = pl.DataFrame(rows, schema={"rollout_id": pl.String, "criterion": pl.String, "score": pl.Float64})
    known = dict(weights or dict.fromkeys(scores, 1 / len(scores)))
    return ScoredRollouts(
        make_batch(rollouts, table, known, dict(gates or {}), Reward()).rows, known, dict(gates or {})
    )


def test_a_criterion_that_keeps_its_order_correlates_fully_and_shifts_by_the_difference_of_means() -> None:
    shift = compare_scores(judging({"x": [0.0, 0.2, 0.4, 0.6]}), judging({"x": [0.1, 0.5, 0.6, 0.8]})).criteria["x"]
    assert shift.scored == 4
    assert shift.rank_correlation == pytest.approx(1)
    assert (shift.mean_a, shift.mean_b, shift.shift) == pytest.approx((0.3, 0.5, 0.2))
    assert (shift.weight_a, shift.weight_b) == (1, 1)


def test_two_neighbours_that_swap_lower_the_rank_correlation() -> None:
    diff = compare_scores(judging({"x": [0.1, 0.2, 0.3, 0.4]}), judging({"x": [0.1, 0.3, 0.2, 0.4]}))
    assert diff.criteria["x"].rank_correlation == pytest.approx(1 - 6 * (1 + 1) / (4 * 15))
    assert diff.moved_count == 2


def test_what_is_the_same_everywhere_has_no_rank_correlation() -> None:
    diff = compare_scores(judging({"x": [0.5, 0.5]}), judging({"x": [0.1, 0.9]}))
    assert diff.criteria["x"].rank_correlation is None
    assert diff.criteria["x"].shift == pytest.approx(0)


def test_unscored_rollouts_are_counted_and_stay_out_of_both_means() -> None:
    a = judging({"x": [0.2, 0.4, None, 0.9]})
    b = judging({"x": [0.4, 0.8, 0.7, None]})
    shift = compare_scores(a, b).criteria["x"]
    assert (shift.scored, shift.newly_unscored) == (2, 1)
    assert (shift.mean_a, shift.mean_b) == pytest.approx((0.3, 0.6))
    reward = compare_scores(a, b).reward
    assert (reward.scored, reward.newly_unscored) == (2, 1)


def test_a_criterion_of_one_side_shows_its_mean_there() -> None:
    diff = compare_scores(judging({"x": [0.2, 0.4], "gone": [0.5, 0.7]}), judging({"x": [0.2, 0.4], "new": [1, 0]}))
    assert list(diff.criteria) == ["x", "gone", "new"]
    gone, new = diff.criteria["gone"], diff.criteria["new"]
    assert (gone.scored, gone.mean_a, gone.mean_b, gone.shift) == (0, pytest.approx(0.6), None, None)
    assert (new.mean_a, new.mean_b, new.weight_a, new.weight_b) == (None, 0.5, None, 0.5)


def test_rollouts_are_matched_by_id_and_the_others_counted() -> None:
    diff = compare_scores(judging({"x": [0.1, 0.2, 0.3]}), judging({"x": [0.9, 0.3, 0.5, 0.6]}, first=1))
    assert (diff.both, diff.only_a, diff.only_b) == (2, 1, 2)
    assert [(move.rollout_id, move.reward_a, move.reward_b) for move in diff.moved] == [("r01", 0.2, 0.9)]
    assert compare_scores(judging({"x": [0.1]}), judging({"x": [0.1]}, first=1)).both == 0


def test_the_rollouts_that_moved_most_come_first_with_their_texts() -> None:
    a = judging({"x": [0.5] * 12})
    b = judging({"x": [0.5, *(0.5 + i / 100 for i in range(1, 12))]})
    diff = compare_scores(a, b)
    assert diff.moved_count == 11
    assert [move.rollout_id for move in diff.moved] == [f"r{i:02d}" for i in range(11, 1, -1)]
    assert len(diff.moved) == MOVED
    first = diff.moved[0]
    assert (first.prompt, first.completion) == ("Where is it?", "reply r11")
    assert (first.reward_a, first.reward_b) == pytest.approx((0.5, 0.61))


def test_the_parts_of_the_criteria_sum_to_the_change() -> None:
    a = judging({"x": [0.2], "y": [0.8], "z": [0.4]}, {"x": 0.5, "y": 0.25, "z": 0.25})
    b = judging({"x": [0.6], "y": [0.8], "w": [1.0]}, {"x": 0.2, "y": 0.3, "w": 0.5})
    (move,) = compare_scores(a, b).moved
    # reward 0.1 + 0.2 + 0.1 = 0.4 before, 0.12 + 0.24 + 0.5 = 0.86 after; between them 0.63
    assert (move.reward_a, move.reward_b) == pytest.approx((0.4, 0.86))
    parts = {mover.criterion: mover.change for mover in move.movers}
    assert parts == pytest.approx(
        {
            "w": 0.5 * (1 - 0.63),
            "x": 0.35 * 0.4 + (0.2 - 0.5) * (0.4 - 0.63),
            "z": -0.25 * (0.4 - 0.63),
            "y": (0.3 - 0.25) * (0.8 - 0.63),
        }
    )
    assert list(parts) == ["x", "w", "z", "y"]
    assert sum(parts.values()) == pytest.approx(0.46)
    assert [(mover.score_a, mover.score_b) for mover in move.movers][1] == (None, 1.0)


def test_a_criterion_at_zero_moves_the_reward_when_its_weight_grows() -> None:
    a = judging({"x": [0.0], "y": [1.0]}, {"x": 0.5, "y": 0.5})
    b = judging({"x": [0.0], "y": [1.0]}, {"x": 0.75, "y": 0.25})
    (move,) = compare_scores(a, b).moved
    parts = {mover.criterion: mover.change for mover in move.movers}
    # the reward falls from 0.5 to 0.25: x lies 0.375 below what is between them, y 0.625 above
    assert parts == pytest.approx({"x": 0.25 * -0.375, "y": -0.25 * 0.625})


def test_a_gate_takes_the_whole_change() -> None:
    a = judging({"x": [0.9], "y": [0.7]}, gates={"y": 0.5})
    b = judging({"x": [0.9], "y": [0.3]}, gates={"y": 0.5})
    (move,) = compare_scores(a, b).moved
    assert (move.reward_a, move.reward_b) == pytest.approx((0.8, 0.0))
    (mover,) = move.movers
    assert (mover.criterion, mover.gate, mover.score_a, mover.score_b) == ("y", True, 0.7, 0.3)
    assert mover.change == pytest.approx(-0.8)


def test_the_same_scores_move_nothing() -> None:
    diff = compare_scores(judging({"x": [0.1, 0.7]}), judging({"x": [0.1, 0.7]}))
    assert (diff.moved_count, diff.moved) == (0, [])
    assert (diff.reward.rank_correlation, diff.reward.shift) == (pytest.approx(1), 0)
