"""Noise: how much a judge's scores of one prompt's replies differ when the labels of the replies do not.

Axes: N anchors, R rows of weights.
"""

from typing import NamedTuple

import numpy as np

from rft_pipeline.audit.agreement import HALF, operating_point
from rft_pipeline.audit.labelled import Labelled
from rft_pipeline.stats import Interval, Resamples, ratio


class Noise(NamedTuple):
    """A judge's error within one prompt's group, on the scale of the scores that train."""

    variance: Interval
    """Variance of the error of one score; a random 0 or 1 has 0.25."""
    flips: float | None
    """Share of wrong verdicts of a judge that only gives 0 or 1; None for other judges."""
    prompts: int
    """Number of prompts it was measured on."""


def noise(labelled: Labelled, resamples: Resamples) -> Noise | None:
    """The noise measured against labels; None if unknown. `resamples` are of the anchors' prompts.

    A judge that gives 0 or 1 errs by flipping a share p = (1 − J) / 2 of its verdicts, if it errs equally on good and
    bad replies; the variance is p(1 − p). (This trusts a lenient judge's rare 0 too little and its rare 1 too much.)

    For any other judge, the error is the residual of score = level of the prompt + slope · label + error. The level is
    removed because centring a group removes it; so at least two scored replies to a prompt are needed. Differences in
    quality that labels do not show, and people's errors, count as noise, so the estimate is rather too high. Two other
    measures would be too low: test–retest shows only random sampling, while a likelihood judge repeats its errors
    exactly; and the spread of a panel does not show errors that its members share. Calibration does not help: it moves
    scores without reducing their noise.
    """
    scored, drawn = labelled.scored, resamples.take(~labelled.unscored_N)
    if np.isin(scored.score_N, (0.0, 1.0)).all():
        return _flips(scored, drawn)
    _, place_N, count_K = np.unique(drawn.prompt_N, return_inverse=True, return_counts=True)
    several_N = count_K[place_N] > 1
    scored, drawn, count_N = scored.take(several_N), drawn.take(several_N), count_K[place_N][several_N]
    if not several_N.any():
        return None
    label_N, score_N = drawn.centred(scored.share_N), drawn.centred(scored.score_N)
    columns_NX = np.stack([label_N**2, label_N * score_N, score_N**2, 1 - 1 / count_N], axis=1)
    labels_R, both_R, scores_R, free_R = drawn.sums(columns_NX).T
    explained_R = np.nan_to_num(ratio(both_R**2, labels_R))
    variance = drawn.interval(ratio(np.maximum(scores_R - explained_R, 0.0), free_R - (labels_R > 0)))
    return None if np.isnan(variance.mean) else Noise(variance, None, drawn.prompts)


def _flips(scored: Labelled, drawn: Resamples) -> Noise | None:
    j = operating_point(scored.score_N >= HALF, scored.good_N, HALF, drawn).youden_j
    if np.isnan(j.mean):
        return None
    mean, upper, lower = ((1 - max(each, 0.0) ** 2) / 4 for each in j)  # p(1 − p), which falls as J rises
    return Noise(Interval(mean, lower, upper), (1 - max(j.mean, 0.0)) / 2, drawn.prompts)
