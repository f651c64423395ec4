"""How far a judge errs within one prompt's group, from scores and labels by hand, and from simulated judges."""

import numpy as np
import pytest

from rft_pipeline.audit.labelled import Labelled
from rft_pipeline.audit.noise import noise
from rft_pipeline.stats import Resamples


def labelled(prompts: list[int], labels: list[float], scores: list[float]) -> Labelled:
    return Labelled(np.array(prompts), np.array(labels), np.array(scores, dtype=float))


def drawn(found: Labelled) -> Resamples:
    return Resamples.draw(found.prompt_N, 300, seed=0)


def test_verdicts_of_which_15_percent_flip_have_a_variance_of_p_times_1_minus_p() -> None:
    """Of ten good replies nine pass, of ten bad ones two: J is 0.7."""
    rows = labelled([*range(10), *range(10)], [1] * 10 + [0] * 10, [1] * 9 + [0] + [1] * 2 + [0] * 8)
    found = noise(rows, drawn(rows))
    assert found is not None
    assert (found.flips, found.prompts) == (pytest.approx(0.15), 10)
    assert found.variance.mean == pytest.approx(0.15 * 0.85)
    assert found.variance.lower95 < found.variance.mean < found.variance.upper95 <= 0.25


def test_other_scores_err_by_what_prompt_and_label_leave_unexplained() -> None:
    """A good and a bad reply to each of two prompts, 0.4 and 0.2 apart: within the prompts Σlabel² = 1, Σlabel·score =
    0.3, Σscore² = 0.1, so 0.1 − 0.3² is left, of 4 − 2 − 1 degrees of freedom."""
    rows = labelled([0, 0, 1, 1], [1, 0, 1, 0], [0.9, 0.5, 0.5, 0.3])
    found = noise(rows, drawn(rows))
    assert found is not None
    assert (found.variance.mean, found.flips, found.prompts) == (pytest.approx(0.01), None, 2)


def test_a_prompt_that_scores_higher_altogether_is_no_noise() -> None:
    rows = labelled([0, 0, 1, 1], [1, 0, 1, 0], [0.9, 0.5, 0.8, 0.4])
    found = noise(rows, drawn(rows))
    assert found is not None
    assert found.variance.mean == pytest.approx(0.0, abs=1e-12)


def test_one_reply_a_prompt_and_unscored_ones_say_nothing_of_a_group() -> None:
    rows = labelled([0, 1, 2, 2], [1, 0, 1, 0], [0.9, 0.5, 0.7, np.nan])
    assert noise(rows, drawn(rows)) is None


def test_replies_of_one_label_alone_tell_of_noise_too() -> None:
    """0.2 apart in each of two prompts: 4 · 0.1² over 4 − 2 degrees of freedom."""
    rows = labelled([0, 0, 1, 1], [1, 1, 0, 0], [0.9, 0.7, 0.3, 0.1])
    found = noise(rows, drawn(rows))
    assert found is not None
    assert found.variance.mean == pytest.approx(0.02)


def test_a_simulated_judges_noise_is_found_whatever_its_prompts_score() -> None:
    rng = np.random.default_rng(0)
    prompt_N, label_N = np.repeat(np.arange(200), 4), np.tile([1.0, 0.0, 1.0, 0.0], 200)
    score_N = 0.5 + 0.2 * (label_N - 0.5) + rng.normal(0, 0.1, 200)[prompt_N] + rng.normal(0, 0.05, 800)
    rows = Labelled(prompt_N, label_N, score_N)
    found = noise(rows, drawn(rows))
    assert found is not None
    assert found.variance.mean == pytest.approx(0.05**2, rel=0.1)
    assert found.variance.lower95 < 0.05**2 < found.variance.upper95
