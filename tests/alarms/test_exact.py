"""Formulas of the alarms against numbers worked out by hand."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from rft_pipeline.alarms.drift import ANCHORS, drift
from rft_pipeline.alarms.features import Pooled, feature_alarms, fit_slopes
from rft_pipeline.alarms.history import DriftProcess, across_cycles, within_cycle
from rft_pipeline.alarms.phrases import Phrase
from rft_pipeline.alarms.replies import does_not_rise, rises
from rft_pipeline.campaign import Alarms
from rft_pipeline.stats import Interval, Resamples
from tests.alarms.test_verdicts import BASE, HOW, RISING, replies


def one_anchor(*scores: float, label: float = 1.0) -> pl.DataFrame:
    rows = [(round_, "kind", "a", "p", label, score, "judge") for round_, score in enumerate(scores)]
    return pl.DataFrame(rows, schema=ANCHORS, orient="row")


def test_a_bet_is_set_by_the_moves_before_it_and_pays_by_its_own() -> None:
    """Falls of 0.04, 0.06 and 0.10 from a label of 1, of which 0.02 is allowed: moves of 0.02, 0.04 and 0.08.

    The first bet knows nothing and is 0. The second: mean 0.02, variance 0.05 / 2, so 0.02 / (0.025 + 0.0004) = 0.7874;
    it pays 1 + 0.7874 · 0.04 = 1.0315. The third: mean 0.03, variance (0.05 + 0.0002) / 3, so 1.70, cut to 0.9; it pays
    1.072. Of the four ways to move, down and away from the label win; up never bets, and moves either way, of which 0.1
    is allowed, are not above it.
    """
    found = drift(one_anchor(0.80, 0.76, 0.74, 0.70), HOW, 0)
    second, third = 1 + 0.02 / 0.0254 * 0.04, (1 + 0.02 / 0.0254 * 0.04) * (1 + 0.9 * 0.08)
    assert [each.worse for each in found] == pytest.approx([1, 1, second, third])
    assert [each.evidence for each in found] == pytest.approx([1, 1, (2 + 2 * second) / 4, (2 + 2 * third) / 4])
    assert [each.looks for each in found] == [0, 1, 2, 3]


def test_a_rise_towards_the_label_is_no_evidence_of_moving_away() -> None:
    found = drift(one_anchor(0.70, 0.76, 0.80), HOW, 0)
    mean = 0.06 - 0.02
    up = 1 + min(0.9, mean / (0.025 + mean**2)) * (0.10 - 0.02)
    assert (found[2].worse, found[2].evidence) == (1, pytest.approx((up + 3) / 4))


def test_moves_either_way_have_an_allowance_of_their_own() -> None:
    """A score that falls by 0.3 and then rises by 0.3, which is all allowed: but not as noise."""
    how = Alarms(max_anchor_shift=0.3, max_anchor_noise=0.1)
    found = drift(one_anchor(0.4, 0.1, 0.7), how, 0)
    either = 1 + min(0.9, 0.95 / 1.3, 0.2 / (0.025 + 0.04)) * 0.2
    assert found[2].evidence == pytest.approx((either + 3) / 4)


def test_a_bet_never_loses_all_however_much_is_allowed() -> None:
    """Moves of 1 − 0.3 from a label of 0: bets of 1.36 and of 1.08, both cut to 0.95 / 1.3."""
    found = drift(one_anchor(0.0, 1.0, 1.0, label=0.0), Alarms(max_anchor_shift=0.3, max_anchor_noise=0.1), 0)
    largest = 0.95 / 1.3
    assert found[2].evidence == pytest.approx((2 * (1 + largest * 0.7) + (1 + largest * 0.9) + 1) / 4)


@pytest.mark.parametrize(("bound", "said"), [(-0.1, True), (0.0, True), (1e-9, False), (float("nan"), False)])
def test_a_score_does_not_rise_where_its_upper_bound_is_not_above_0(bound: float, said: bool) -> None:
    assert does_not_rise(Interval(-0.2, -0.3, bound)) is said


@pytest.mark.parametrize(("bound", "said"), [(-0.1, False), (0.0, False), (1e-9, True), (float("nan"), False)])
def test_a_score_rises_where_its_lower_bound_is_above_0(bound: float, said: bool) -> None:
    assert rises(Interval(0.2, bound, 0.3)) is said


@pytest.mark.parametrize("count", [1, 2, 3])
def test_phrases_share_one_error_equally_and_length_has_its_own(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def recorded(both: Pooled, features: dict[str, np.ndarray], outside: float = 0.05) -> Any:
        asked.append((list(features), outside))
        return fit_slopes(both, features, outside)

    monkeypatch.setattr("rft_pipeline.alarms.features.fit_slopes", recorded)
    found = [Phrase(f"word {i}", 1.0, 4.0, 9, 1, 1.0, 0.0, ()) for i in range(count)]
    list(feature_alarms(replies(1, RISING), BASE, found, [], (), HOW, 0))
    length, *each = asked
    assert length == (["length", "markdown"], 0.05)
    assert each == [(["phrase", "length", "markdown"], pytest.approx(0.05 / count))] * count


def test_a_features_bounds_leave_half_of_its_error_on_each_side_and_again_half_for_the_two_specifications() -> None:
    """Of the two specifications each interval leaves half of the error outside, a quarter on each side."""
    random = np.random.default_rng(0)
    rewards, lengths = random.random(40), random.random(40)
    rows = pl.DataFrame(
        {
            "prompt_id": [f"p{i % 10}" for i in range(40)],
            "reward": rewards,
            "held_out": random.random(40),
        }
    )
    drawn = Resamples.draw(rows["prompt_id"].to_numpy(), 400, 1)
    both = Pooled(rows, np.arange(40) >= 20, drawn, np.ones(401), {"reward": 1.0, "held_out": 1.0})
    wide, narrow = (fit_slopes(both, {"length": lengths}, outside)["length"].reward for outside in (0.02, 0.5))
    slopes = []
    for features in (lengths[:, None], np.column_stack([lengths, np.arange(40) >= 20])):
        slopes.append(_slopes_by_hand(features, rewards, drawn.prompt_N, drawn.times_RK))
    for found, outside in ((wide, 0.02), (narrow, 0.5)):
        bounds = [np.quantile(each[1:], [outside / 4, 1 - outside / 4]) for each in slopes]
        assert any((found.lower95, found.upper95) == pytest.approx(tuple(each), abs=1e-5) for each in bounds)


def _slopes_by_hand(feature_NF: np.ndarray, y_N: np.ndarray, prompt_N: np.ndarray, times_RK: np.ndarray) -> np.ndarray:
    """The first feature's least-squares slope within prompts, by resample."""

    def within(value: np.ndarray) -> np.ndarray:
        return value - np.array([value[prompt_N == place].mean(axis=0) for place in prompt_N])

    x_NF, y_N = within(feature_NF.astype(float)), within(y_N)
    found = []
    for times_K in times_RK:
        root_N = np.sqrt(times_K[prompt_N])
        found.append(np.linalg.lstsq(x_NF * root_N[:, None], y_N * root_N, rcond=None)[0][0])
    return np.array(found)


def thirty(rounds: int, seed: int) -> pl.DataFrame:
    """Thirty anchors a round, whose judge drifts a little more each round."""
    random = np.random.default_rng(seed)
    rows = [
        (round_, "kind", f"a{i}", f"p{i}", 1.0, float(0.9 - 0.03 * round_ - 0.02 * random.random()), "judge")
        for round_ in range(rounds)
        for i in range(30)
    ]
    return pl.DataFrame(rows, schema=ANCHORS, orient="row")


def test_evidence_goes_on_over_cycles_as_if_they_were_one() -> None:
    """Rounds 0 to 2 and then a cycle's rounds 1 and 2, against five rounds in a row."""
    together = thirty(5, seed=3)
    then = {"kind": DriftProcess("question", "judge")}
    first = across_cycles(together.filter(pl.col("round") < 3), then, then)
    assert first["round"].unique().sort().to_list() == [-2, -1, 0]
    second = together.filter(pl.col("round") >= 3).with_columns(pl.col("round") - 2)
    whole, parts = drift(together, HOW, 0), drift(pl.concat([first, second]), HOW, 0)
    assert [each.round for each in parts] == [-2, -1, 0, 1, 2]
    assert [each.evidence for each in parts] == [each.evidence for each in whole]
    assert whole[-1].evidence > whole[2].evidence > 1


def test_an_edited_question_or_another_judge_starts_the_evidence_anew() -> None:
    rows, then = thirty(3, seed=3), {"kind": DriftProcess("question", "judge")}
    for now in (
        {},
        {"kind": DriftProcess("another question", "judge")},
        {"kind": DriftProcess("question", "another judge")},
    ):
        assert across_cycles(rows, then, now).is_empty()
    assert within_cycle(rows, then, {"kind": DriftProcess("another question", "judge")}).is_empty()
    bridged = within_cycle(
        rows, then, {"kind": DriftProcess("question", "another judge")}
    )  # within a cycle both are compared
    assert bridged.height == rows.height


@pytest.mark.parametrize("cycles", [1, 4])
def test_a_judge_that_stays_within_what_is_allowed_is_rarely_said_to_drift_however_many_cycles_there_are(
    cycles: int,
) -> None:
    """Noise of ±0.02 around what the judge said at first, three rounds a cycle: at most 1 of 20 may reach the limit."""
    reached = 0
    for seed in range(20):
        random = np.random.default_rng(seed)
        rows = [
            (round_, "kind", f"a{i}", f"p{i}", 1.0, float(0.8 + 0.02 * (2 * random.random() - 1)), "judge")
            for round_ in range(3 * cycles + 1)
            for i in range(12)
        ]
        found = drift(pl.DataFrame(rows, schema=ANCHORS, orient="row"), Alarms(resamples=100), 0)
        reached += any(each.evidence >= 1 / HOW.drift_error for each in found)
    assert reached <= 1
