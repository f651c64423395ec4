"""What moves a judge beside the quality of a reply: length, dress, emptiness, orders to the judge, and the order shown.

Axes: N anchors, P probes of one kind, M pairs of replies, R rows of weights.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import polars as pl

from rft_pipeline.audit.labelled import Labelled
from rft_pipeline.audit.probes import PROBES, Kind
from rft_pipeline.audit.resample import Resamples, ratio
from rft_pipeline.stats import Interval, clustered_mean


def length_correlation(scored: Labelled, length_N: np.ndarray, resamples: Resamples) -> Interval:
    """Partial Spearman correlation of score and length given the label; `length_N` in any unit.

    Ranks are centred within each value of the label, so a judge may like long replies as far as people do. NaN where
    scores or lengths do not vary within any label.
    """
    if not scored.score_N.size:
        return Interval(float("nan"), float("nan"), float("nan"))
    x_N, y_N = (pl.Series(values).rank().to_numpy() for values in (scored.score_N, length_N))
    moment_NX = np.stack([np.ones_like(x_N), x_N, y_N, x_N * x_N, y_N * y_N, x_N * y_N], axis=1)
    within_RX = np.zeros((len(resamples.times_RK), 3))
    for label in np.unique(scored.label_N):
        one, x, y, xx, yy, xy = resamples.sums(moment_NX * (scored.label_N == label)[:, None]).T
        count = np.maximum(one, 1)  # a label that was not drawn has sums of 0
        within_RX += np.stack([xx - x * x / count, yy - y * y / count, xy - x * y / count], axis=1)
    xx, yy, xy = within_RX.T
    moving = (xx > 1e-9) & (yy > 1e-9)
    return resamples.interval(ratio(xy, np.where(moving, np.sqrt(np.abs(xx * yy)), 0.0)))


class Effect(NamedTuple):
    """What one probe, or the probes of one kind together, do to scores."""

    name: str
    kind: Kind
    pairs: int
    """Anchors scored before and after."""
    shift: Interval
    """Mean score after minus before, over all anchors."""
    passing: float
    """Share of bad anchors at or above the threshold after the edit; NaN without bad ones."""
    gain: Interval
    """That share minus what passed of the same anchors before. A judge that is merely noisy gains nothing."""


def effects(
    labelled: Labelled,
    probed: Mapping[str, np.ndarray],
    resamples: int,
    seed: int,
    threshold: float = 0.5,
) -> list[Effect]:
    """Each probe's effect, then one for all degenerate replies and one for all injections together.

    `probed` holds the N scores of the edited anchors by the name of the probe, NaN where unscored; such pairs are left
    out. Within a kind an anchor's effect is its mean over the probes. Raises `ValueError` for a probe it does not know.
    """
    kinds = {probe.name: probe.kind for probe in PROBES}
    if unknown := sorted(set(probed) - set(kinds)):
        raise ValueError(f"no probe is called {', '.join(unknown)}; there are: {', '.join(kinds)}")
    found = [
        _effect(name, kinds[name], labelled, after_N[None, :], resamples, seed, threshold)
        for name, after_N in probed.items()
    ]
    for kind in (Kind.DEGENERATE, Kind.INJECTION):
        if together := [after_N for name, after_N in probed.items() if kinds[name] is kind]:
            found.append(_effect(kind.value, kind, labelled, np.stack(together), resamples, seed, threshold))
    return found


def _effect(
    name: str, kind: Kind, labelled: Labelled, after_PN: np.ndarray, resamples: int, seed: int, threshold: float
) -> Effect:
    both_PN = ~np.isnan(after_PN) & ~labelled.unscored_N
    count_N = both_PN.sum(axis=0).astype(float)

    def mean_N(values_PN: np.ndarray) -> np.ndarray:
        return ratio(np.where(both_PN, values_PN, 0).sum(axis=0), count_N)

    bad_N = ~labelled.good_N
    passes_N = mean_N(after_PN >= threshold)
    gain_N = passes_N - (labelled.score_N >= threshold)
    there_N = bad_N & (count_N > 0)
    return Effect(
        name,
        kind,
        int((count_N > 0).sum()),
        clustered_mean(mean_N(after_PN - labelled.score_N), labelled.prompt_N, resamples, seed),
        float(passes_N[there_N].mean()) if there_N.any() else float("nan"),
        clustered_mean(gain_N[bad_N], labelled.prompt_N[bad_N], resamples, seed),
    )


class Order(NamedTuple):
    """What the order of two replies does to a verdict."""

    pairs: int
    flips: Interval
    """Share of pairs whose verdict is another when the order is turned; a tie is a verdict."""
    first: Interval
    """How often the reply shown first wins, less one half; a tie counts as half a win."""


def order_effect(
    shown_first_M: np.ndarray, shown_second_M: np.ndarray, prompt_M: np.ndarray, resamples: int, seed: int
) -> Order:
    """From M pairs judged in both orders: 1 where the pair's one reply wins, 0.5 where it ties, 0 where it loses.

    The first array holds the verdicts with that reply shown first, the second with it shown second. NaN where a verdict
    is missing; such pairs are left out.
    """
    both_M = ~np.isnan(shown_first_M) & ~np.isnan(shown_second_M)
    first_M, second_M, prompt_M = shown_first_M[both_M], shown_second_M[both_M], prompt_M[both_M]
    return Order(
        len(first_M),
        clustered_mean(np.sign(first_M - 0.5) != np.sign(second_M - 0.5), prompt_M, resamples, seed),
        clustered_mean((first_M + 1 - second_M) / 2 - 0.5, prompt_M, resamples, seed),
    )
