import math

import numpy as np
import pytest
from pydantic import TypeAdapter

from rft_pipeline.audit.calibration import Bin, calibration, cross_fitted, reliability
from rft_pipeline.audit.labelled import Labelled
from rft_pipeline.audit.numbers import refit_helps
from rft_pipeline.judges import AnyJudge, Squash


def judged(nats: np.ndarray, label: np.ndarray, squash: Squash) -> Labelled:
    score = 1 / (1 + np.exp(-(nats - squash.offset) / squash.scale))
    return Labelled(np.arange(len(nats)) // 2, label, score)


def truth(seed: int, anchors: int) -> tuple[np.ndarray, np.ndarray]:
    """Nats, and labels that are good with probability sigmoid((nats − 1) / 0.25)."""
    rng = np.random.default_rng(seed)
    nats = rng.normal(1, 0.6, anchors)
    return nats, (rng.random(anchors) < 1 / (1 + np.exp(-(nats - 1) / 0.25))).astype(int)


def test_the_fitted_squash_is_the_one_the_labels_were_drawn_by() -> None:
    squash = Squash(offset=0.3, scale=0.8)
    found = calibration(judged(*truth(0, 4000), squash), squash)
    assert found.squash is not None
    assert found.squash.offset == pytest.approx(1, abs=0.05)
    assert found.squash.scale == pytest.approx(0.25, abs=0.03)


def test_calibration_lowers_the_error_on_prompts_it_was_not_fitted_on() -> None:
    found = calibration(judged(*truth(1, 400), Squash(offset=0.3, scale=0.8)))
    assert found.before > 0.2
    assert found.platt < 0.06
    assert found.isotonic < 0.08
    assert found.advised == "isotonic"
    assert found.after == found.isotonic


def test_a_refit_that_brings_scores_no_nearer_to_the_labels_is_not_advised() -> None:
    judge = {"protocol": "contrast", "positive": "You are kind.", "negative": "You are rude."}
    unset, fitted = (
        TypeAdapter(AnyJudge).validate_python({**judge, **squash})
        for squash in ({}, {"squash": {"offset": 0.1, "scale": 0.2}})
    )
    worse, better = (
        {"squash": {"offset": 0.2, "scale": 0.3}, "calibration_error": {"before": 0.2, "after": after}}
        for after in (0.21, 0.19)
    )
    assert (refit_helps(worse, fitted), refit_helps(better, fitted)) == (False, True)
    assert refit_helps(worse, unset)  # scores that are all near one half are near the share of good labels, and useless
    assert not refit_helps({"squash": None, "calibration_error": None}, unset)


def test_a_criterion_without_labels_has_an_empty_diagram() -> None:
    assert reliability(np.array([]), np.array([])) == []


def test_few_labels_advise_platt() -> None:
    assert calibration(judged(*truth(2, 100), Squash())).advised == "platt"


def test_scores_that_fall_as_labels_rise_have_no_squash() -> None:
    nats, label = truth(3, 200)
    assert calibration(judged(nats, 1 - label, Squash())).squash is None


def test_a_judge_that_never_errs_has_a_finite_squash() -> None:
    label = np.tile([0, 1], 20)
    squash = Squash(offset=0.5, scale=0.1)
    found = calibration(judged(label.astype(float), label, squash), squash)
    assert found.squash is not None
    assert found.squash.offset == pytest.approx(0.5, abs=0.01)
    assert 0 < found.squash.scale < 1


def test_an_anchors_own_label_has_no_part_in_its_calibrated_score() -> None:
    given = judged(*truth(4, 60), Squash())
    turned = Labelled(given.prompt_N, given.label_N.copy(), given.score_N)
    turned.label_N[:2] = 1 - turned.label_N[:2]  # the two replies to prompt 0
    for method in ("platt", "isotonic"):
        assert cross_fitted(given, method)[:2] == pytest.approx(cross_fitted(turned, method)[:2])


def test_the_calibration_error_is_the_mean_distance_over_bins() -> None:
    # Ten at 0.2 of which three are good, ten at 0.9 of which seven are good: (0.1 + 0.2) / 2.
    score = np.repeat([0.2, 0.9], 10)
    label = np.array([1] * 3 + [0] * 7 + [1] * 7 + [0] * 3)
    assert reliability(score, label) == [Bin(pytest.approx(0.2), 0.3, 10), Bin(pytest.approx(0.9), 0.7, 10)]
    given = Labelled(np.arange(20), label, score)
    found = calibration(given)
    assert found.before == pytest.approx(0.15)


def test_unscored_anchors_are_left_out_and_labels_must_differ() -> None:
    given = Labelled(np.arange(3), np.array([1, 1, 0]), np.array([0.9, 0.8, math.nan]))
    with pytest.raises(ValueError, match="two different labels to fit on"):
        calibration(given)


def test_a_fit_to_some_replies_is_measured_on_others() -> None:
    """The judge says 0.9 of all; half of those measured are good, as half of those fitted on were."""
    fitted = Labelled(np.arange(8), np.array([1, 0] * 4), np.full(8, 0.9))
    measured = Labelled(np.arange(8, 12), np.array([1, 0, 1, 0]), np.full(4, 0.9))
    found = calibration(fitted, measured=measured)
    assert found.before == pytest.approx(0.4)
    assert found.platt == pytest.approx(0, abs=1e-2)
    assert found.isotonic == pytest.approx(0)
