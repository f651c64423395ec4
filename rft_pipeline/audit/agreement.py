"""Agreement of one criterion's scores with people's labels, with intervals over prompts.

Axes: N anchors, R rows of weights (row 0 is the sample), C values of a label.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from rft_pipeline.audit.labelled import Labelled
from rft_pipeline.audit.ranking import auc_interval, within_prompt
from rft_pipeline.stats import UNKNOWN, Interval, Resamples, ratio

Scale = Literal["nominal", "ordinal"]
FOLDS = 5
"""Folds of cross-fitting; all anchors of a prompt are in one fold."""
HALF = 0.5


class OperatingPoint(NamedTuple):
    """A judge as a yes/no decision: a score at or above the threshold passes; a label in the upper half is good."""

    threshold: float
    youden_j: Interval
    """True positive rate minus false positive rate: 0 is chance, 1 is perfect, below 0 is inverted."""
    true_positives: Interval
    """Share of the good that pass."""
    false_positives: Interval
    """Share of the bad that pass."""


@dataclass(frozen=True)
class Agreement:
    """One criterion's judge against the labels. All but `unscored_share` uses only scored anchors."""

    anchors: int
    prompts: int
    """Prompts with a scored anchor."""
    good: int
    bad: int
    """Scored anchors of each kind."""
    unscored_share: Interval
    cohen_kappa: Interval
    """Chance-corrected agreement, with quadratic weights for grades (no effect for 0 and 1)."""
    auc: Interval
    within_prompt: Interval
    """Share of a prompt's pairs with different labels that the judge orders the same; a group's advantage uses this."""
    at_cut: OperatingPoint
    """At the threshold with the highest J, fitted on other prompts: centring a group removes the judge's offset."""


def agreement(labelled: Labelled, resamples: Resamples) -> Agreement:
    """Agreement of scores and labels; NaN where unknown. `resamples` are of the anchors' prompts."""
    scored = labelled.scored
    drawn = resamples.take(~labelled.unscored_N)
    good_N = scored.good_N
    return Agreement(
        anchors=len(labelled.score_N),
        prompts=drawn.prompts,
        good=int(good_N.sum()),
        bad=int((~good_N).sum()),
        unscored_share=resamples.mean(labelled.unscored_N.astype(float)),
        cohen_kappa=kappa(scored.grade_N, scored.whole_N, "ordinal", drawn),
        auc=auc_interval(scored, drawn),
        within_prompt=within_prompt(scored, drawn),
        at_cut=operating_point(cross_fitted_yes(scored), good_N, best_cut(scored.score_N, good_N), drawn),
    )


def operating_point(yes_N: np.ndarray, good_N: np.ndarray, threshold: float, resamples: Resamples) -> OperatingPoint:
    """Yes/no decisions against good/bad labels; a rate without cases is NaN."""
    cells_NX = np.stack([yes_N & good_N, yes_N & ~good_N, good_N, ~good_N], axis=1).astype(float)
    hit_R, false_R, good_R, bad_R = resamples.sums(cells_NX).T
    true_positives_R, false_positives_R = ratio(hit_R, good_R), ratio(false_R, bad_R)
    return OperatingPoint(
        threshold,
        youden_j=resamples.interval(true_positives_R - false_positives_R),
        true_positives=resamples.interval(true_positives_R),
        false_positives=resamples.interval(false_positives_R),
    )


def best_cut(score_N: np.ndarray, good_N: np.ndarray) -> float:
    """The threshold with the highest Youden's J, of several the closest to 0.5; 0.5 if all labels are on one side."""
    if not good_N.any() or good_N.all():
        return HALF
    value_V = np.unique(score_N)
    cut_V = np.unique([0.0, HALF, *(value_V[1:] + value_V[:-1]) / 2, 1.0])
    above = [np.searchsorted(np.sort(score_N[side]), cut_V, side="left") / side.sum() for side in (~good_N, good_N)]
    j_V = above[0] - above[1]
    best = cut_V[np.isclose(j_V, j_V.max())]
    return float(best[np.argmin(np.abs(best - HALF))])


def cross_fitted_yes(scored: Labelled) -> np.ndarray:
    """Whether each anchor passes the best threshold of the other folds."""
    yes_N = scored.score_N >= HALF
    for rest, part in folds(scored.prompt_N):
        yes_N[part] = scored.score_N[part] >= best_cut(scored.score_N[rest], scored.good_N[rest])
    return yes_N


def folds(prompt_N: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pairs of anchors to fit on and to test, at most `FOLDS`; none for a single prompt."""
    from sklearn.model_selection import GroupKFold

    parts = min(FOLDS, len(np.unique(prompt_N)))
    return list(GroupKFold(parts).split(prompt_N, groups=prompt_N)) if parts > 1 else []


def kappa(a_N: np.ndarray, b_N: np.ndarray, scale: Scale, resamples: Resamples) -> Interval:
    """Cohen's κ of two raters that give integers (Cohen 1968): unweighted, or with quadratic weights if ordinal.

    NaN if both always give the same value.
    """
    return resamples.interval(kappas(a_N, b_N, scale, resamples)) if len(a_N) else UNKNOWN


def kappas(a_N: np.ndarray, b_N: np.ndarray, scale: Scale, resamples: Resamples) -> np.ndarray:
    """The same κ in each row of weights."""
    value_C = np.arange(min(a_N.min(), b_N.min()), max(a_N.max(), b_N.max()) + 1)
    a_NC, b_NC = ((each[:, None] == value_C).astype(float) for each in (a_N, b_N))
    apart_CC = (value_C[:, None] - value_C[None, :]) ** 2 if scale == "ordinal" else value_C[:, None] != value_C
    observed_R = resamples.sums((a_NC[:, :, None] * b_NC[:, None, :] * apart_CC).sum(axis=(1, 2)))
    a_RC, b_RC = resamples.sums(a_NC), resamples.sums(b_NC)
    expected_R = ratio(np.einsum("rc,cd,rd->r", a_RC, apart_CC.astype(float), b_RC), a_RC.sum(axis=1))
    return np.asarray(1 - ratio(observed_R, expected_R))
