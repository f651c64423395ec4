"""Calibration: of the replies that a judge scores 0.8, are 80 % good?

Fitted on some prompts and measured on others (cross-fitted, or on two splits).
Axes: N anchors.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np

from rft_pipeline.audit.agreement import folds
from rft_pipeline.audit.labelled import Labelled
from rft_pipeline.judges import Squash

CalibrationMethod = Literal["platt", "isotonic"]
METHODS: tuple[CalibrationMethod, ...] = get_args(CalibrationMethod)
ISOTONIC_FROM = 300
"""Number of labels from which isotonic regression is advised; Platt scaling needs fewer."""
BINS = 10
_EDGE = 1e-6
"""Scores are clipped this far from 0 and 1, so that their log-odds are finite."""


class Bin(NamedTuple):
    """One bin of a reliability diagram."""

    score: float
    """Mean score."""
    good: float
    """Mean label, in [0, 1]."""
    anchors: int


@dataclass(frozen=True)
class Calibration:
    """Expected calibration errors of a judge's scores before and after fitting, measured on prompts not fitted on: the
    mean distance between score and share of good labels, over bins of equal counts."""

    before: float
    platt: float
    isotonic: float
    advised: CalibrationMethod
    """By the number of labels."""
    squash: Squash | None
    """Platt's fit as offset and scale of a likelihood protocol; None if scores do not rise with the labels."""

    @property
    def after(self) -> float:
        return self.platt if self.advised == "platt" else self.isotonic


def calibration(fitted: Labelled, squash: Squash | None = None, measured: Labelled | None = None) -> Calibration:
    """Both methods fitted on some replies and measured on replies to other prompts; without `measured`, cross-fitted by
    prompt.

    `squash` is the squash that the scores were made with; without one (a judge that answers with probabilities) the
    fitted squash applies to the scores' log-odds. Raises `ValueError` without two labels to fit on, or without a score
    to measure.
    """
    known = fitted.scored
    scored = known if measured is None else measured.scored
    if len(np.unique(known.label_N)) < 2 or not len(scored.score_N):
        raise ValueError("calibration needs replies of two different labels to fit on, and one to measure")
    platt_N, isotonic_N = (
        cross_fitted(known, method) if measured is None else _fit(method, known.score_N, known.share_N, scored.score_N)
        for method in METHODS
    )
    slope, intercept = _platt(known.score_N, known.share_N)
    return Calibration(
        before=calibration_error(scored.score_N, scored),
        platt=calibration_error(platt_N, scored),
        isotonic=calibration_error(isotonic_N, scored),
        advised="isotonic" if len(known.score_N) >= ISOTONIC_FROM else "platt",
        squash=_moved(squash or Squash(offset=0.0, scale=1.0), slope, intercept),
    )


def cross_fitted(scored: Labelled, method: CalibrationMethod) -> np.ndarray:
    """Each anchor's calibrated score, from a fit to other prompts; unchanged if those have only one label."""
    fitted_N = scored.score_N.astype(float).copy()
    for rest, part in folds(scored.prompt_N):
        if len(np.unique(scored.label_N[rest])) > 1:
            fitted_N[part] = _fit(method, scored.score_N[rest], scored.share_N[rest], scored.score_N[part])
    return fitted_N


def calibration_error(score_N: np.ndarray, scored: Labelled) -> float:
    """Expected calibration error of N scores against the labels."""
    bins = reliability(score_N, scored.share_N)
    return sum(one.anchors * abs(one.score - one.good) for one in bins) / len(score_N)


def reliability(score_N: np.ndarray, share_N: np.ndarray, bins: int = BINS) -> list[Bin]:
    """Up to `bins` bins of about equal counts by score; equal scores are in one bin. None without scores."""
    if not len(score_N):
        return []
    edges = np.unique(np.quantile(score_N, np.linspace(0, 1, bins + 1)[1:-1]))
    place_N = np.searchsorted(edges, score_N, side="left")
    groups = [place_N == place for place in np.unique(place_N)]
    return [Bin(float(score_N[mine].mean()), float(share_N[mine].mean()), int(mine.sum())) for mine in groups]


def _fit(method: CalibrationMethod, score_N: np.ndarray, share_N: np.ndarray, new: np.ndarray) -> np.ndarray:
    if method == "platt":
        slope, intercept = _platt(score_N, share_N)
        return np.asarray(1 / (1 + np.exp(-(slope * _log_odds(new) + intercept))))
    from sklearn.isotonic import IsotonicRegression

    fit = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(score_N, share_N)
    return np.asarray(fit.predict(new))


def _platt(score_N: np.ndarray, share_N: np.ndarray) -> tuple[float, float]:
    """Slope and intercept of a logistic regression of the label on the score's log-odds.

    Labels are moved a little away from 0 and 1 (Platt 1999), so that a perfect judge has a finite slope.
    """
    from sklearn.linear_model import LogisticRegression

    good, bad = share_N.sum(), (1 - share_N).sum()
    target_N = share_N * (good + 1) / (good + 2) + (1 - share_N) / (bad + 2)
    x_N = _log_odds(score_N)
    fit = LogisticRegression(C=1e6, max_iter=1000).fit(
        np.concatenate([x_N, x_N])[:, None],
        np.repeat([1, 0], len(x_N)),
        sample_weight=np.concatenate([target_N, 1 - target_N]),
    )
    return float(fit.coef_[0, 0]), float(fit.intercept_[0])


def _moved(squash: Squash, slope: float, intercept: float) -> Squash | None:
    """The squash whose log-odds are slope · (old log-odds) + intercept."""
    if slope <= 0:
        return None
    return Squash(offset=squash.offset - squash.scale * intercept / slope, scale=squash.scale / slope)


def _log_odds(score_N: np.ndarray) -> np.ndarray:
    near_N = np.clip(score_N, _EDGE, 1 - _EDGE)
    return np.asarray(np.log(near_N / (1 - near_N)))
