"""Noise: how far do a judge's scores of one prompt's replies differ where the replies, by people's labels, do not?

Axes: N anchors, R rows of weights.
"""

from typing import NamedTuple

import numpy as np

from rft_pipeline.audit.agreement import HALF, split
from rft_pipeline.audit.labelled import Labelled
from rft_pipeline.audit.resample import Resamples, ratio
from rft_pipeline.stats import Interval


class Noise(NamedTuple):
    """A judge's error within one prompt's group, on the scale of the scores that train."""

    variance: Interval
    """Of the error of one score; 0.25 is a coin that says 0 or 1."""
    flips: float | None
    """Share of verdicts that are wrong, for a judge that says 0 or 1 and nothing between; None for the others."""
    prompts: int
    """Prompts that tell of it."""


def noise(labelled: Labelled, resamples: Resamples) -> Noise | None:
    """Measured against labels; None where they cannot say. `resamples` are of the anchors' prompts.

    A judge that says 0 or 1 errs by flips: p = (1 − J) / 2 of its verdicts, if it errs alike on good and bad, and the
    variance is p(1 − p). A lenient judge's lone no is so believed less, and its lone yes more, than each deserves.

    Any other judge's error is what its score leaves unexplained: score = level of the prompt + slope · label + error.
    The level is taken out because centring a group takes it out; it is no noise there, and with it most groups would
    drown. So it takes two scored replies to a prompt. Differences in quality that labels do not tell, and people's own
    errors, count as noise: it is rather too high than too low. Two measures that suggest themselves are too low. Asking
    again (test–retest) sees only what is drawn at random: a judge that reads likelihoods says the same twice, right or
    wrong. The members of a panel share errors, and their spread does not show those. The calibrated score is not what
    trains, and calibration moves a score without making it surer.
    """
    scored, drawn = labelled.scored, resamples.take(~labelled.unscored_N)
    if np.isin(scored.score_N, (0.0, 1.0)).all():
        return _flips(scored, drawn)
    _, place_N, count_K = np.unique(drawn.prompt_N, return_inverse=True, return_counts=True)
    several_N = count_K[place_N] > 1
    scored, drawn, count_N = scored.take(several_N), drawn.take(several_N), count_K[place_N][several_N]
    if not several_N.any():
        return None
    label_N, score_N = (_centred(each, drawn.prompt_N) for each in (scored.share_N, scored.score_N))
    columns_NX = np.stack([label_N**2, label_N * score_N, score_N**2, 1 - 1 / count_N], axis=1)
    labels_R, both_R, scores_R, free_R = drawn.sums(columns_NX).T
    explained_R = np.nan_to_num(ratio(both_R**2, labels_R))
    variance = drawn.interval(ratio(np.maximum(scores_R - explained_R, 0.0), free_R - (labels_R > 0)))
    return None if np.isnan(variance.mean) else Noise(variance, None, drawn.prompts)


def _flips(scored: Labelled, drawn: Resamples) -> Noise | None:
    j = split(scored.score_N >= HALF, scored.good_N, HALF, drawn).youden_j
    if np.isnan(j.mean):
        return None
    mean, upper, lower = ((1 - max(each, 0.0) ** 2) / 4 for each in j)  # p(1 − p); the more power, the less noise
    return Noise(Interval(mean, lower, upper), (1 - max(j.mean, 0.0)) / 2, drawn.prompts)


def _centred(value_N: np.ndarray, prompt_N: np.ndarray) -> np.ndarray:
    """Less the mean over the replies to the same prompt."""
    return np.asarray(value_N - (np.bincount(prompt_N, value_N) / np.bincount(prompt_N))[prompt_N])
