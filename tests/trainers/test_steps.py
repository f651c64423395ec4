"""How many steps a training takes: counted by hand."""

from typing import Any

import polars as pl
import pytest

from rft_pipeline.campaign import Training
from rft_pipeline.trainers.replay import fillers


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


def test_the_last_step_of_grpo_is_filled_up() -> None:
    # 160 rollouts: two steps of 64, and the last 32 with 32 copies
    how = training(batch_size=64)
    assert how.how.steps(groups(20, 8), how, {}) == 3
    assert training(batch_size=64).how.most_steps(training(batch_size=64), 20, 8) == 3
    assert training(batch_size=64, epochs=2).how.most_steps(training(batch_size=64, epochs=2), 20, 8) == 6


@pytest.mark.parametrize(
    ("count", "size", "batch", "added"), [(20, 8, 64, 4), (16, 8, 64, 0), (3, 4, 5, 2), (3, 4, 1, 0), (1, 6, 4, 1)]
)
def test_groups_are_added_until_all_steps_are_whole(count: int, size: int, batch: int, added: int) -> None:
    assert fillers(count, size, batch) == added
    assert (count + added) * size % batch == 0


@pytest.mark.parametrize(
    ("method", "settings", "steps"),
    [
        ("raft", {"raft": {"best": 2}}, 3),  # 20 examples in steps of 8
        ("raft", {"raft": {"best": 9}}, 5),  # no more than the 4 rollouts of a group: 40 examples
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
