"""The error of promotions over all decisions on the same held-out prompts, and how decisions are counted."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from rft_pipeline.campaign import Promotion
from rft_pipeline.errors import StoreError
from rft_pipeline.promotion import looks
from rft_pipeline.promotion.decide import Side, decide_promotion

PAYLOAD: dict[str, Any] = {
    "stage": "promotion",
    "settings": {"margin": 0.0},
    "inputs": {"prompts": "eval", "look": "1"},
}


def test_decisions_spend_a_half_a_sixth_a_twelfth_of_the_error_and_never_more_than_all() -> None:
    assert [looks.spent(0.06, look) for look in (1, 2, 3)] == pytest.approx([0.03, 0.01, 0.005])
    for look in (1, 2, 3, 10, 5000):
        assert sum(looks.spent(0.06, k) for k in range(1, look + 1)) + looks.left(0.06, look) == pytest.approx(0.06)


def test_a_confidence_never_rounds_to_certainty() -> None:
    assert [looks.confidence(level) for level in (0.025, 0.0125, 0.05 / 6, 1e-9)] == [
        "95 %",
        "97.5 %",
        "98.3 %",
        "99.9999998 %",
    ]


def test_the_same_decision_is_one_look_and_another_is_the_next(tmp_path: Path) -> None:
    wider = {**PAYLOAD, "settings": {"margin": 0.1}}
    for each in (PAYLOAD, wider, PAYLOAD):
        looks.count(tmp_path, "tiny", each)
    made = looks.read(tmp_path, "tiny")
    assert [looks.look_number(made, "eval", looks.decision_of(each)) for each in (PAYLOAD, wider)] == [1, 2]
    assert looks.look_number(made, "eval", "a decision that was never made") == 3
    assert looks.look_number(made, "other held-out prompts", looks.decision_of(PAYLOAD)) == 1


def test_the_number_of_a_look_is_no_part_of_what_identifies_it() -> None:
    second = {**PAYLOAD, "inputs": {"prompts": "eval", "look": "2"}}
    assert looks.decision_of(PAYLOAD) == looks.decision_of(second)


def test_a_file_of_looks_that_cannot_be_read_is_named_and_its_loss_explained(tmp_path: Path) -> None:
    looks.count(tmp_path, "tiny", PAYLOAD)
    looks.path_of(tmp_path, "tiny").write_text("{", encoding="utf-8")
    with pytest.raises(StoreError, match=r"tiny\.json: cannot be read.*the error budget of promotions starts again"):
        looks.read(tmp_path, "tiny")


def test_a_year_of_rounds_without_any_gain_promotes_none_within_the_error() -> None:
    """52 cycles of two rounds on the same 88 prompts, each round as good as base: at 2.5 % a round nearly all such
    years end with a false promotion. Of 20 years, more than 4 false ones have a chance of under 1 % where 5 % are
    allowed."""
    prompts = [f"p{place:02d}" for place in range(88)]
    random = np.random.default_rng(5)

    def replies(round_: int) -> Side:
        return Side(str(round_), f"weights {round_}", rows_of(random.beta(2, 2, 88)), round_)

    def rows_of(reward_K: np.ndarray) -> pl.DataFrame:
        return pl.DataFrame({"prompt_id": prompts, "reward": reward_K, "scores": [{"polite": 0.5}] * 88})

    false = 0
    for _ in range(20):
        false += any(
            decide_promotion([replies(1), replies(2)], replies(0), [], Promotion(), look).promoted is not None
            for look in range(1, 53)
        )
    assert false <= 4
