"""Prediction-powered means: worked examples, and how often their intervals hold the truth."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from rft_pipeline.labels.draw import capped, drawn
from rft_pipeline.stats.ppi import Estimates, prediction_powered

NAN = float("nan")


def test_a_judge_that_is_off_by_a_constant_is_corrected_by_that_constant() -> None:
    judge_N = np.random.default_rng(0).uniform(0.1, 0.9, size=4000)
    human_N = np.where(np.arange(4000) % 10 == 0, judge_N - 0.1, NAN)
    found = prediction_powered(judge_N, human_N, np.full(4000, 0.1), np.arange(4000))
    assert found.labelled == 400
    assert found.power == pytest.approx(1, abs=0.05)
    assert found.powered.mean == pytest.approx(found.judge.mean - 0.1, abs=0.001)
    width, wide = (each.upper95 - each.lower95 for each in (found.powered, found.human))
    assert width / wide == pytest.approx(math.sqrt(400 / 4000), abs=0.02)


def test_with_scores_that_say_nothing_only_people_count() -> None:
    found = prediction_powered([0.5] * 4, [0, 1, 1, NAN], [0.5] * 4, list("abcd"))
    assert found.power == 0
    assert found.powered == found.human
    assert found.human.mean == pytest.approx(2 / 3)


def test_a_label_drawn_half_as_often_counts_twice() -> None:
    found = prediction_powered([0.5] * 3, [1, 0, NAN], [0.25, 0.5, 1], list("abc"))
    assert found.human.mean == pytest.approx(2 / 3)


def test_without_clusters_and_weights_the_interval_of_people_is_students() -> None:
    human = np.array([0.0, 1.0, 1.0, 0.5])
    found = prediction_powered([0.5] * 4, human, [1.0] * 4, range(4))
    assert found.human.upper95 - found.human.mean == pytest.approx(3.18245 * human.std(ddof=1) / 2, rel=1e-4)


def test_what_cannot_be_known_is_nan() -> None:
    nobody = prediction_powered([0.2, 0.4], [NAN, NAN], [NAN, NAN], ["a", "b"])
    assert nobody.judge.mean == pytest.approx(0.3)
    assert all(map(math.isnan, (*nobody.human, *nobody.powered)))
    alike = prediction_powered([0.2, 0.4, 0.6], [1, 1, NAN], [0.5] * 3, list("abc"))
    assert alike.human.mean == 1
    assert math.isnan(alike.human.lower95)
    assert math.isnan(alike.powered.upper95)
    one_prompt = prediction_powered([0.2, 0.4, 0.6], [0, 1, NAN], [0.5] * 3, list("aab"))
    assert math.isnan(one_prompt.human.lower95)


def test_an_unscored_rollout_counts_as_the_judges_mean() -> None:
    with_nan = prediction_powered([0.2, 0.6, NAN, 0.4], [0, 1, NAN, NAN], [0.5] * 4, list("abcd"))
    filled = prediction_powered([0.2, 0.6, 0.4, 0.4], [0, 1, NAN, NAN], [0.5] * 4, list("abcd"))
    assert with_nan.powered == pytest.approx(filled.powered)


def test_what_does_not_fit_together_is_refused() -> None:
    with pytest.raises(ValueError, match="must have the same length"):
        prediction_powered([0.1], [0.1, 0.2], [1, 1], ["a", "b"])
    with pytest.raises(ValueError, match=r"in \(0, 1\]"):
        prediction_powered([0.1], [0.1], [0], ["a"])


def simulated(runs: int, prompts: int, group: int, labels: int, likeness: float, *, uneven: bool) -> list[Estimates]:
    """Yes-no labels with a mean of Φ(0.3), replies to one prompt alike, and a judge that is biased upwards."""
    random = np.random.default_rng(0)
    n, cluster_N, found = prompts * group, np.repeat(np.arange(prompts), group), []
    for run in range(runs):
        quality_N = math.sqrt(0.3) * np.repeat(random.normal(size=prompts), group) + math.sqrt(0.7) * random.normal(
            size=n
        )
        human_N = (quality_N > -0.3).astype(float)
        noise_N = math.sqrt(1 - likeness**2) * random.normal(size=n)
        judge_N = 1 / (1 + np.exp(-(likeness * quality_N + noise_N + 0.5)))
        chance_N = np.full(n, 1 / n)
        if uneven:
            chance_N *= 0.5
            chance_N[np.argsort(np.abs(judge_N - 0.5))[: n // 4]] += 0.3 / (n // 4)
            chance_N[np.argsort(-judge_N)[: n // 10]] += 0.2 / (n // 10)
        inclusion_N = capped(chance_N, labels)
        asked_N = np.full(n, NAN)
        places = drawn(inclusion_N, run)
        asked_N[places] = human_N[places]
        found.append(prediction_powered(judge_N, asked_N, inclusion_N, cluster_N))
    return found


@pytest.mark.parametrize(
    ("prompts", "labels", "likeness", "uneven"),
    [(100, 100, 0.9, False), (100, 100, 0.9, True), (60, 60, 0.8, True), (24, 60, 0.8, True), (100, 100, 0.0, True)],
)
def test_the_interval_holds_the_truth_in_about_95_of_100_runs(
    prompts: int, labels: int, likeness: float, uneven: bool
) -> None:
    runs = simulated(1000, prompts, 8, labels, likeness, uneven=uneven)
    truth = norm.cdf(0.3)
    holds = np.mean([run.powered.lower95 <= truth <= run.powered.upper95 for run in runs])
    assert 0.93 <= holds <= 0.97
    wide = np.mean([run.human.upper95 - run.human.lower95 for run in runs])
    powered = np.mean([run.powered.upper95 - run.powered.lower95 for run in runs])
    if likeness:  # judge and labels correlate by about 0.75 and 0.65
        assert powered < 0.9 * wide
        assert np.mean([run.judge.lower95 <= truth <= run.judge.upper95 for run in runs]) < 0.9
    else:
        assert powered < 1.03 * wide
    print(f"{prompts} prompts, {labels} labels, uneven {uneven}: covers {holds:.3f}, width {powered / wide:.2f}")
