"""Does a judge rank good replies above bad ones? AUC and order within a prompt, which need no threshold.

Axes: N anchors, R rows of weights, V distinct scores.
"""

import numpy as np

from rft_pipeline.audit.labelled import Labelled
from rft_pipeline.stats import Interval, Resamples, ratio


def auc_interval(scored: Labelled, resamples: Resamples) -> Interval:
    """AUC with its interval over prompts; resamples without both kinds are left out."""
    return resamples.interval(weighted_auc(scored.score_N, scored.good_N, resamples.times_RN))


def weighted_auc(score_N: np.ndarray, good_N: np.ndarray, times_RN: np.ndarray) -> np.ndarray:
    """AUC of N scored anchors under each of R rows of weights: the share of (good, bad) pairs in the right order, ties
    counting half; NaN without both kinds."""
    if not score_N.size:
        return np.full(len(times_RN), np.nan)
    order = np.argsort(score_N, kind="stable")
    starts_V = np.flatnonzero(np.diff(score_N[order], prepend=np.nan) != 0)
    sorted_RN, good_N = times_RN[:, order], good_N[order]
    good_RV = np.add.reduceat(sorted_RN * good_N, starts_V, axis=1)
    bad_RV = np.add.reduceat(sorted_RN * ~good_N, starts_V, axis=1)
    below_RV = np.cumsum(bad_RV, axis=1) - bad_RV / 2
    return ratio((good_RV * below_RV).sum(axis=1), good_RV.sum(axis=1) * bad_RV.sum(axis=1))


def within_prompt(scored: Labelled, resamples: Resamples) -> Interval:
    """Share of a prompt's pairs with different labels that the judge orders the same; ties count half."""
    right_N, pairs_N = np.zeros(len(scored.score_N)), np.zeros(len(scored.score_N))
    for prompt in range(resamples.prompts):
        mine = np.flatnonzero(resamples.prompt_N == prompt)
        label, score = scored.label_N[mine], scored.score_N[mine]
        apart = label[:, None] > label[None, :]
        right_N[mine] = (apart * (np.sign(score[:, None] - score[None, :]) + 1) / 2).sum(axis=1)
        pairs_N[mine] = apart.sum(axis=1)
    drawn = resamples.take(pairs_N > 0)
    return drawn.interval(ratio(drawn.sums(right_N[pairs_N > 0]), drawn.sums(pairs_N[pairs_N > 0])))
