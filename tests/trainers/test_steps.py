"""How many steps a training takes: counted by hand."""

from typing import Any

import polars as pl
import pytest

from rft_pipeline.campaign import Training
from rft_pipeline.trainers.rows import TrainingRow, plan_steps


def training(method: str = "grpo", **settings: Any) -> Training:
    return Training.model_validate({"method": method, **settings})


def groups(count: int, size: int) -> pl.DataFrame:
    """Groups of which every rollout can teach."""
    return pl.DataFrame(
        [
            {"prompt_id": f"p{group}", "sample_index": i, "excluded": None, "finish_reason": "stop"}
            for group in range(count)
            for i in range(size)
        ],
        schema_overrides={"excluded": pl.String},
    )


def test_the_last_step_of_grpo_has_what_is_left() -> None:
    # 160 rollouts: two steps of 64, and the last 32
    how = training(batch_size=64)
    assert how.how.steps(groups(20, 8), how, {}) == 3
    assert training(batch_size=64).how.most_steps(training(batch_size=64), 20, 8) == 3
    assert training(batch_size=64, epochs=2).how.most_steps(training(batch_size=64, epochs=2), 20, 8) == 6


@pytest.mark.parametrize(
    ("count", "size", "epochs", "steps"),
    [(12, 8, 1, [8, 4]), (12, 12, 2, [12, 12]), (12, 5, 1, [5, 5, 2]), (3, 8, 1, [3]), (0, 8, 1, [])],
)
def test_rows_are_taken_in_order_a_whole_epoch_after_the_other(
    count: int, size: int, epochs: int, steps: list[int]
) -> None:
    plan = plan_steps([TrainingRow("a", [1], [2], [], 0.0, True) for _ in range(count)], size, epochs)
    assert [len(step) for step in plan] == steps
    assert [i for step in plan for i in step] == list(range(count)) * epochs


def test_rows_of_which_none_is_live_take_no_step() -> None:
    assert plan_steps([TrainingRow("a", [1], [2], [], 0.0, False)], 1, 1) == []


@pytest.mark.parametrize(
    ("method", "settings", "steps"),
    [
        ("raft", {"raft": {"best": 2}}, 3),  # 20 examples in steps of 8
        ("raft", {"raft": {"best": 9}}, 5),  # no more than the 4 rollouts of a group: 40 examples
        ("raft", {"epochs": 3}, 6),  # each epoch has a step of 8 and one of 2
        ("dpo", {}, 2),  # 10 pairs
        ("dpo", {"epochs": 3}, 4),  # 30
        ("sft", {}, 2),
    ],
)
def test_a_round_of_10_groups_of_4_gives_at_most(method: str, settings: dict[str, Any], steps: int) -> None:
    assert (
        training(method, batch_size=8, **settings).how.most_steps(training(method, batch_size=8, **settings), 10, 4)
        == steps
    )
