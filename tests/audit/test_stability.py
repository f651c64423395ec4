import math

import numpy as np
import pytest

from rft_pipeline.audit.stability import order_of_pairs, order_of_rankings, retest
from rft_pipeline.stats import Resamples


def drawn(prompts: int) -> Resamples:
    return Resamples.draw(np.arange(prompts), 300, seed=0)


def test_a_second_score_is_set_beside_the_first() -> None:
    """Of three scored twice one moves by 0.3 and crosses the threshold; of the fourth there is no second score."""
    found = retest(np.array([0.2, 0.4, 0.9, 0.5]), np.array([0.2, 0.7, 0.9, math.nan]), 0.5, drawn(4))
    assert found is not None
    assert (found.replies, found.largest) == (3, pytest.approx(0.3))
    assert found.shift.mean == pytest.approx(0.1)
    assert found.crossed.mean == pytest.approx(1 / 3)
    assert retest(np.array([0.2]), np.array([math.nan]), 0.5, drawn(1)) is None


def test_pairs_that_flip_and_a_liking_for_the_first_are_counted() -> None:
    """Two replies of each of two prompts, one pair each: in one prompt the first shown wins both times."""
    told = np.array([[1, 1, 2, 0], [1, 1, 2, 0], [1, 0, 1, 1], [1, 0, 1, 1]], dtype=float)
    found = order_of_pairs(told, Resamples.draw(np.array([0, 0, 1, 1]), 300, seed=0))
    assert found is not None
    assert (found.pairs, found.flips.mean, found.first.mean) == (2, 0.5, 0.25)
    assert order_of_pairs(np.full((2, 4), math.nan), drawn(2)) is None


def test_a_judge_that_ranks_as_shown_prefers_the_first_and_flips_with_the_order() -> None:
    group, place = np.repeat([0, 1], 3), np.tile([0.0, 1.0, 2.0], 2)
    score, turned = np.tile([1.0, 0.5, 0.0], 2), np.tile([0.0, 0.5, 1.0], 2)
    resamples = Resamples.draw(group, 300, seed=0)
    found = order_of_rankings(group, place, score, turned, resamples)
    assert found is not None
    assert (found.pairs, found.flips.mean, found.first.mean) == (6, 1.0, 0.5)
    steady = order_of_rankings(group, np.tile([0.0, 2.0, 1.0], 2), score, score, resamples)
    assert steady is not None
    assert (steady.flips.mean, steady.first.mean) == (0.0, pytest.approx(1 / 6))
