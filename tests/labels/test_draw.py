"""Who is drawn, and with which probability."""

import numpy as np
import polars as pl
import pytest

from rft_pipeline.labels.draw import capped, drawn, with_inclusion


def rollouts(count: int) -> pl.DataFrame:
    places = range(count)
    return pl.DataFrame(
        {
            "rollout_id": [f"{place:04d}" for place in places],
            "unsure": [1 - place / count for place in places],
            "reward": [place / count for place in places],
        }
    )


def test_a_rollouts_probability_is_the_sum_over_the_ways_to_be_drawn() -> None:
    found = with_inclusion(rollouts(100), 10)["inclusion"].to_list()
    assert found[0] == pytest.approx(10 * (0.5 / 100 + 0.3 / 25))
    assert found[24] == found[0]
    assert found[25] == pytest.approx(10 * 0.5 / 100)
    assert found[90] == pytest.approx(10 * (0.5 / 100 + 0.2 / 10))
    assert sum(found) == pytest.approx(10)


def test_nobody_is_surer_than_sure_and_the_sum_stays() -> None:
    found = capped(np.array([8.0, 1.0, 1.0]), 2)
    assert found.tolist() == pytest.approx([1, 0.5, 0.5])
    assert capped(np.array([8.0, 1.0, 1.0]), 3).tolist() == [1, 1, 1]
    assert with_inclusion(rollouts(30), 20)["inclusion"].sum() == pytest.approx(20)


def test_rollouts_without_reward_are_never_the_highest() -> None:
    some = rollouts(20).with_columns(reward=pl.lit(None, pl.Float64))
    some = some.with_columns(reward=pl.when(pl.col("rollout_id") == "0011").then(0.1), unsure=0.5)
    found = dict(with_inclusion(some, 2).select("rollout_id", "inclusion").iter_rows())
    assert found["0011"] == pytest.approx(2 * (0.5 / 20 + 0.2 / 1))
    assert found["0012"] == pytest.approx(2 * 0.5 / 20)
    nobody = with_inclusion(some.with_columns(reward=pl.lit(None, pl.Float64)), 2)
    assert nobody["inclusion"].sum() == pytest.approx(2)


def test_each_is_drawn_as_often_as_its_probability_says_and_always_n() -> None:
    inclusion_N = with_inclusion(rollouts(40), 10)["inclusion"].to_numpy()
    times_N = np.zeros(40)
    for seed in range(4000):
        places = drawn(inclusion_N, seed)
        assert len(set(places)) == 10
        times_N[places] += 1
    assert np.abs(times_N / 4000 - inclusion_N).max() < 4 * 0.5 / np.sqrt(4000)


def test_a_seed_draws_the_same_again() -> None:
    inclusion_N = np.full(20, 0.25)
    assert drawn(inclusion_N, 3).tolist() == drawn(inclusion_N, 3).tolist()
    assert drawn(inclusion_N, 3).tolist() != drawn(inclusion_N, 4).tolist()
