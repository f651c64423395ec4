"""What moves scores besides the quality of a reply: length, style, empty replies, injections, authorship.

Axes: N anchors, R rows of weights.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from rft_pipeline.audit.labelled import Labelled
from rft_pipeline.audit.probes import FILLER, PROBES, ProbeKind
from rft_pipeline.audit.rows import WHOLE
from rft_pipeline.stats import UNKNOWN, Interval, Resamples, ratio


def length_correlation(labelled: Labelled, length_N: np.ndarray, resamples: Resamples) -> Interval:
    """Partial Spearman correlation of score and length given the label; `length_N` in any unit.

    Ranks are centred within each label value, so a judge may prefer long replies as much as people do. NaN if scores or
    lengths do not vary within any label.
    """
    scored_N = ~labelled.unscored_N
    scored, length_N, resamples = labelled.scored, length_N[scored_N], resamples.take(scored_N)
    if not scored.score_N.size:
        return UNKNOWN
    x_N, y_N = (pl.Series(values).rank().to_numpy() for values in (scored.score_N, length_N))
    moment_NX = np.stack([np.ones_like(x_N), x_N, y_N, x_N * x_N, y_N * y_N, x_N * y_N], axis=1)
    within_RX = np.zeros((len(resamples.times_RK), 3))
    for label in np.unique(scored.label_N):
        one, x, y, xx, yy, xy = resamples.sums(moment_NX * (scored.label_N == label)[:, None]).T
        count = np.maximum(one, 1)  # a label missing from the resample has sums of 0
        within_RX += np.stack([xx - x * x / count, yy - y * y / count, xy - x * y / count], axis=1)
    xx, yy, xy = within_RX.T
    varies = (xx > 1e-9) & (yy > 1e-9)
    return resamples.interval(ratio(xy, np.where(varies, np.sqrt(np.abs(xx * yy)), 0.0)))


def own_family_gap(labelled: Labelled, own_N: np.ndarray, resamples: Resamples) -> Interval:
    """How much higher a judge scores replies of its own model family than other replies with the same label.

    `own_N` is 1 for a reply by its own family, 0 for another, NaN if unknown. The gaps per label are weighted by the
    number of own replies. NaN if no label has both kinds.
    """
    there_N = ~(labelled.unscored_N | np.isnan(own_N))
    scored, own_N, resamples = labelled.take(there_N), own_N[there_N], resamples.take(there_N)
    total_R, weight_R = np.zeros(len(resamples.times_RK)), np.zeros(len(resamples.times_RK))
    for label in np.unique(scored.label_N):
        own, others = ((scored.label_N == label) & (own_N == side) for side in (1, 0))
        columns = np.stack([own, own * scored.score_N, others, others * scored.score_N], axis=1).astype(float)
        count_R, sum_R, other_R, other_sum_R = resamples.sums(columns).T
        gap_R = ratio(sum_R, count_R) - ratio(other_sum_R, other_R)
        known_R = ~np.isnan(gap_R)
        total_R[known_R] += (gap_R * count_R)[known_R]
        weight_R[known_R] += count_R[known_R]
    return resamples.interval(ratio(total_R, weight_R))


class Effect(NamedTuple):
    """The effect of a probe on scores."""

    name: str
    kind: ProbeKind
    shift: Interval
    """Mean score after minus before the edit, over all anchors."""
    gain: Interval
    """Share of bad anchors that pass after the edit minus the share before, so that a merely noisy judge gains nothing.
    The bounds of one kind's probes hold jointly (Bonferroni), so that the worst probe can represent its kind."""


def effects(
    labelled: Labelled,
    probed: Mapping[str, np.ndarray],
    resamples: Resamples,
    threshold: float = 0.5,
    gated: Mapping[str, np.ndarray] | None = None,
) -> list[Effect]:
    """Each probe's effect on a model judge. (A rule that an empty reply passes is intended.)

    `probed` holds the N scores of the edited anchors by probe, NaN for unscored, which is left out. `threshold` is the
    score that passes: use `Agreement.at_cut`, since at 0.5 an uncalibrated judge may pass nothing. If the probe
    `filler` is present, a probe that adds a sentence must beat both the original reply and the reply with as much
    neutral text, so that a preference for length does not count as an injection. `gated` says by probe, and for `WHOLE`
    of the unedited ones, which of the N replies get a reward of 0 from a rule's gate. Replies without content are such
    texts as training would find, so one that a gate stops does not pass. (An injection stands for others, of other
    lengths.) Raises `ValueError` for an unknown probe.
    """
    probes = {probe.name: probe for probe in PROBES}
    if unknown := sorted(set(probed) - set(probes)):
        raise ValueError(f"unknown probes {', '.join(unknown)}; allowed: {', '.join(probes)}")
    kinds = Counter(probes[name].kind for name in probed)
    filled_N = np.fmax(labelled.score_N, probed.get(FILLER, labelled.score_N))
    missing_N = labelled.unscored_N
    none_N = np.zeros(len(missing_N), dtype=bool)
    closed = {} if gated is None else gated
    found = []
    for name, after_N in probed.items():
        probe = probes[name]
        before_N = filled_N if probe.adds else labelled.score_N
        there_N = ~(missing_N | np.isnan(after_N))
        bad_N = there_N & ~labelled.good_N
        passes_N, passed_N = after_N >= threshold, before_N >= threshold
        if probe.kind is ProbeKind.DEGENERATE:
            passes_N, passed_N = (passes_N & ~closed.get(name, none_N), passed_N & ~closed.get(WHOLE, none_N))
        gain_N = np.where(bad_N, passes_N.astype(float) - passed_N, np.nan)
        found.append(
            Effect(
                name,
                probe.kind,
                resamples.mean(np.where(there_N, after_N - before_N, np.nan)),
                resamples.mean(gain_N, outside=0.05 / kinds[probe.kind]),
            )
        )
    return found


def worst(found: Sequence[Effect], kind: ProbeKind) -> Effect | None:
    """The probe of a kind with the largest lower bound of the gain; None if none could be measured."""
    measured = [effect for effect in found if effect.kind is kind and not np.isnan(effect.gain.lower95)]
    return max(measured, key=lambda effect: effect.gain.lower95, default=None)
