"""Agreement of scores with labels, against scikit-learn and by hand."""

import math

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from rft_pipeline.audit.agreement import HALF, Agreement, agreement, best_cut, kappa, operating_point
from rft_pipeline.audit.labelled import Labelled
from rft_pipeline.audit.ranking import weighted_auc
from rft_pipeline.stats import Interval, Resamples


def labelled(
    label: list[int], score: list[float | None], prompts: list[str] | None = None, highest: int = 1
) -> Labelled:
    names = prompts or [f"p{place}" for place in range(len(label))]
    return Labelled.of(pl.DataFrame({"prompt_id": names, "label": label, "score": score}), highest)


def audited(given: Labelled, resamples: int = 200) -> Agreement:
    return agreement(given, Resamples.draw(given.prompt_N, resamples, seed=0))


def noisy(seed: int, anchors: int = 60, grades: int = 2) -> Labelled:
    rng = np.random.default_rng(seed)
    label = rng.integers(0, grades, anchors)
    score = np.clip(rng.normal(0.3 + 0.4 * label / (grades - 1), 0.3), 0, 1).round(1)
    return Labelled(np.array([f"p{place // 3}" for place in range(anchors)]), label, score, grades - 1)


def test_rates_at_one_half_are_those_counted_by_hand() -> None:
    # Good: 0.9 and 0.6 pass, 0.2 does not. Bad: 0.7 passes, 0.5 passes (at the threshold), 0.1 and 0.3 do not.
    given = labelled([1, 1, 1, 0, 0, 0, 0], [0.9, 0.6, 0.2, 0.7, 0.5, 0.1, 0.3])
    at_half = operating_point(given.score_N >= HALF, given.good_N, HALF, Resamples.draw(given.prompt_N, 200, seed=0))
    assert at_half.true_positives.mean == pytest.approx(2 / 3)
    assert at_half.false_positives.mean == pytest.approx(2 / 4)
    assert at_half.youden_j.mean == pytest.approx(2 / 3 - 2 / 4)
    found = audited(given)
    assert (found.good, found.bad, found.anchors, found.prompts) == (3, 4, 7, 7)


def test_unscored_anchors_are_counted_and_otherwise_left_out() -> None:
    found = audited(labelled([1, 1, 0, 0], [0.9, None, 0.1, None]))
    assert found.unscored_share.mean == 0.5
    assert (found.anchors, found.good, found.bad, found.auc.mean) == (4, 1, 1, 1.0)


def test_a_judge_that_is_always_right_but_never_above_one_half_is_right_at_its_own_cut() -> None:
    found = audited(labelled([1, 0] * 10, [0.4, 0.2] * 10))
    assert found.at_cut.youden_j == Interval(1.0, 1.0, 1.0)
    assert found.at_cut.threshold == pytest.approx(0.3)


def test_of_equally_good_cuts_the_one_nearest_to_one_half_is_taken() -> None:
    assert best_cut(np.array([0.1, 0.9]), np.array([False, True])) == 0.5
    assert best_cut(np.array([0.1, 0.1]), np.array([True, True])) == 0.5


def test_a_cut_found_on_other_prompts_flatters_no_coin() -> None:
    found = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        coin = Labelled(np.arange(100), rng.integers(0, 2, 100), rng.random(100))
        found.append(audited(coin, 100).at_cut.youden_j.mean)
    assert abs(np.mean(found)) < 0.06


def test_auc_is_that_of_scikit_learn_in_the_sample_and_in_each_resample() -> None:
    given = noisy(0)
    drawn = Resamples.draw(given.prompt_N, 20, seed=3)
    found_R = weighted_auc(given.score_N, given.good_N, drawn.times_RN)
    for found, times_N in zip(found_R, drawn.times_RN, strict=True):
        assert found == pytest.approx(roc_auc_score(given.good_N, given.score_N, sample_weight=times_N))
    assert audited(given).auc.mean == pytest.approx(found_R[0])


def test_auc_counts_a_tie_half_and_is_unknown_without_a_bad_anchor() -> None:
    assert audited(labelled([1, 0], [0.5, 0.5])).auc.mean == 0.5
    assert math.isnan(audited(labelled([1, 1], [0.5, 0.6])).auc.mean)
    assert math.isnan(audited(labelled([1, 0], [0.5, None])).auc.mean)


@pytest.mark.parametrize("grades", [2, 5])
def test_kappa_is_that_of_scikit_learn(grades: int) -> None:
    given = noisy(1, grades=grades)
    said = np.floor(given.score_N * (grades - 1) + 0.5).astype(int)
    wanted = cohen_kappa_score(said, given.label_N, weights="quadratic")
    assert audited(given).cohen_kappa.mean == pytest.approx(wanted)
    drawn = Resamples.draw(given.prompt_N, 10, seed=0)
    plain = cohen_kappa_score(said, given.label_N)
    assert kappa(said, given.label_N, "nominal", drawn).mean == pytest.approx(plain)


def test_the_order_within_a_prompt_is_taken_over_the_pairs_that_people_tell_apart() -> None:
    # Prompt a: grade 2 against 1 right, 2 against 0 right, 1 against 0 tied. Prompt b: one pair, wrong; c: no pair.
    given = labelled([2, 1, 0, 2, 0, 1], [0.9, 0.5, 0.5, 0.1, 0.2, 0.7], ["a", "a", "a", "b", "b", "c"], highest=2)
    assert audited(given).within_prompt.mean == pytest.approx((1 + 1 + 0.5 + 0) / 4)


def test_copies_of_a_prompts_replies_add_no_certainty() -> None:
    given = noisy(2)
    often = Labelled(*(np.tile(each, 5) for each in (given.prompt_N, given.label_N, given.score_N)))
    once, copied = audited(given, 1000), audited(often, 1000)
    assert copied.within_prompt == pytest.approx(once.within_prompt)
    assert copied.auc == pytest.approx(once.auc)
    assert copied.cohen_kappa == pytest.approx(once.cohen_kappa)


def test_one_prompt_gives_numbers_without_bounds_and_no_score_gives_none() -> None:
    one = audited(labelled([1, 0], [0.9, 0.1], ["a", "a"]))
    assert one.auc.mean == 1.0
    assert math.isnan(one.auc.lower95)
    none = audited(labelled([1, 0], [None, None]))
    assert math.isnan(none.auc.mean)
    assert math.isnan(none.at_cut.youden_j.mean)
    assert none.unscored_share.mean == 1.0


def test_labels_outside_the_scale_are_refused() -> None:
    with pytest.raises(ValueError, match="labels from 0 to 2; allowed: 0 to 1"):
        labelled([0, 2], [0.1, 0.2])
