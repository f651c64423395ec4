"""How often scores order replies as people and users do, by hand."""

import numpy as np
import pytest

from rft_pipeline.audit.feedback import ranked
from rft_pipeline.audit.pairwise import pairwise_agreement
from rft_pipeline.stats import Resamples


def test_a_pair_counts_one_a_tie_one_half_and_an_unscored_pair_not_at_all() -> None:
    better = np.array([0.9, 0.5, 0.2, np.nan, 0.7])
    worse = np.array([0.1, 0.5, 0.6, 0.3, 0.4])
    found = pairwise_agreement(better, worse, Resamples.draw(["a", "b", "c", "d", "d"], 200, 0))
    assert found.share.mean == pytest.approx((1 + 0.5 + 0 + 1) / 4)
    assert (found.pairs, found.prompts, found.unscored) == (4, 4, 1)
    assert not found.against_people


def test_only_an_interval_below_one_half_is_against_people() -> None:
    always_wrong = pairwise_agreement(np.zeros(8), np.ones(8), Resamples.draw(range(8), 200, 0))
    assert always_wrong.against_people
    coin = pairwise_agreement(np.array([0.0, 1.0] * 4), np.array([1.0, 0.0] * 4), Resamples.draw(range(8), 200, 0))
    assert not coin.against_people
    one_prompt = pairwise_agreement(np.zeros(8), np.ones(8), Resamples.draw([0] * 8, 200, 0))  # without an interval
    assert not one_prompt.against_people


def test_liked_replies_are_ranked_against_disliked_ones_and_neutral_ones_left_out() -> None:
    value = np.array([1.0, 1.0, 0.75, 0.0, 0.25, 0.5, 1.0])
    score = np.array([0.9, 0.4, 0.4, 0.4, 0.1, 0.0, np.nan])
    found = ranked(np.arange(7), value, score, Resamples.draw(range(7), 200, 0))
    # 0.9 beats both; 0.4, twice, ties with 0.4 and beats 0.1
    assert found.agreement.mean == pytest.approx((2 + 1.5 + 1.5) / 6)
    assert (found.liked, found.disliked) == (3, 2)
