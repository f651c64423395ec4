"""Agreement among people, the upper limit for the agreement of a judge with people.

Axes: N anchors, A annotators, R rows of weights, C values of a label.
"""

from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np

from rft_pipeline.audit.agreement import Scale, kappa
from rft_pipeline.stats import Interval, Resamples, ratio


class AnnotatorPair(NamedTuple):
    """Agreement of two annotators on the anchors that both labelled."""

    annotators: tuple[str, str]
    rollouts: int
    agreement: Interval
    """Share of equal labels."""
    cohen_kappa: Interval


@dataclass(frozen=True)
class People:
    """Agreement of several annotators of the same anchors."""

    pairs: tuple[AnnotatorPair, ...]
    krippendorff_alpha: Interval

    @property
    def cohen_kappa(self) -> float:
        """Mean over the pairs; NaN without pairs."""
        found = [pair.cohen_kappa.mean for pair in self.pairs if not np.isnan(pair.cohen_kappa.mean)]
        return float(np.mean(found)) if found else float("nan")


def people(names: tuple[str, ...], label_NA: np.ndarray, scale: Scale, resamples: Resamples) -> People:
    """All pairs of annotators, and all together. Labels are integers, NaN where an annotator gave none."""
    pairs = []
    for one, other in combinations(range(len(names)), 2):
        both_N = ~np.isnan(label_NA[:, [one, other]]).any(axis=1)
        a_N, b_N = label_NA[both_N, one].astype(np.int64), label_NA[both_N, other].astype(np.int64)
        drawn = resamples.take(both_N)
        same = drawn.mean((a_N == b_N).astype(float))
        pairs.append(AnnotatorPair((names[one], names[other]), len(a_N), same, kappa(a_N, b_N, scale, drawn)))
    return People(tuple(pairs), krippendorff_alpha(label_NA, scale, resamples))


def krippendorff_alpha(label_NA: np.ndarray, scale: Scale, resamples: Resamples) -> Interval:
    """Krippendorff's α (Krippendorff 2011): 1 is full agreement, 0 is chance; labels may be missing (NaN).

    Anchors with fewer than two labels do not count. NaN if only one value was given.
    """
    value_C = np.unique(label_NA[~np.isnan(label_NA)])
    count_NC = (label_NA[:, :, None] == value_C).sum(axis=1).astype(float)
    labels_N = count_NC.sum(axis=1)
    count_NC[labels_N < 2] = 0
    pair_NCC = count_NC[:, :, None] * (count_NC[:, None, :] - np.eye(len(value_C)))
    coincidence_RCC = resamples.sums(pair_NCC / np.maximum(labels_N - 1, 1)[:, None, None])
    count_RC = coincidence_RCC.sum(axis=2)
    if scale == "ordinal":  # number of labels between two values, counting half of those at each end
        middle_RC = np.cumsum(count_RC, axis=1) - count_RC / 2
        apart_RCC = (middle_RC[:, :, None] - middle_RC[:, None, :]) ** 2
    else:
        apart_RCC = np.broadcast_to(1 - np.eye(len(value_C)), coincidence_RCC.shape)
    observed_R = (coincidence_RCC * apart_RCC).sum(axis=(1, 2))
    expected_R = np.einsum("rc,rcd,rd->r", count_RC, apart_RCC, count_RC)
    return resamples.interval(1 - ratio(observed_R * (count_RC.sum(axis=1) - 1), expected_R))
