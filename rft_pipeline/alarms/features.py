"""Features that raise the reward but not the score of the alarms' judge as they should: length, markup, phrases.

Axes: N replies of base and one round together, F features, R rows of resampling weights.
Reward and score of the alarms' judge are each regressed on all features at once, within prompts, so that a phrase is
not blamed for the length it adds. A feature is blamed if the reward rises with it, it has grown since base, and the
score of the alarms' judge rises with it less than it should, given how the two agreed at base (`replies.agreement`).
The regression is fitted in two specifications: over base and round together, which finds a feature that all replies
have by now, and with an indicator of the round, which finds a feature that grew together with quality.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl

from rft_pipeline.alarms.findings import SAME_WORDS, Finding, Shared, repeated, spelled
from rft_pipeline.alarms.phrases import Phrase, PhraseEffect, contains
from rft_pipeline.alarms.replies import Replies, agreement, spread
from rft_pipeline.campaign import Alarms
from rft_pipeline.fingerprint import seed_of
from rft_pipeline.rules.words import words
from rft_pipeline.stats import Interval, Resamples

MARKUP = re.compile(r"(?m)^\s*(?:#{1,6} |[-*+] |\d+\. |\|.*\|\s*$|```)|\*\*[^*\n]+\*\*|__[^_\n]+__")
"""Headings, lists, tables, code fences, bold."""
RIDGE = 1e-6


class Slopes(NamedTuple):
    """What one unit of a feature adds, in each score's standard deviations at base: of the two specifications, the one
    with the larger lower bound of `unseen`."""

    reward: Interval
    held_out: Interval
    unseen: Interval
    """What the score of the alarms' judge should gain, minus what it gains."""
    growth: Interval
    """The feature's mean in the round minus at base."""


def feature_alarms(
    now: Replies,
    base: Replies,
    found: Sequence[Phrase],
    effects: Sequence[PhraseEffect],
    fired_at_start: Collection[str],
    settings: Alarms,
    seed: int,
) -> Iterator[Finding]:
    """Length, markup and the phrases; a phrase is also blamed for what it adds to the scores of bad anchors."""
    pooled = Pooled.of(now, base, settings, seed_of(seed, "features", now.round))
    texts = pooled.rows["completion"].to_list()
    length_N = np.array([len(words(text)) for text in texts], dtype=float)
    markup_N = np.array([float(bool(MARKUP.search(text))) for text in texts])
    unit = float(length_N.std()) or 1.0
    features = {"length": length_N / unit, "markdown": markup_N}
    slopes = fit_slopes(pooled, features)
    for cause, subject, unit_words in (
        ("length", "Length", f"one standard deviation of length ({unit:.0f} words)"),
        ("markdown", "Markup", "headings, lists or bold text"),
    ):
        level = repeated(_blamed(slopes[cause], settings), cause, fired_at_start)
        sentence = f"{subject}{' raises the reward' if level else ''}: {unit_words} {_in_words(slopes[cause], base)}"
        yield Finding(cause, level, slopes[cause].unseen, 0.0, sentence)
    outside = 0.05 / max(len(found), 1)
    for phrase in found:
        has_phrase_N = np.array(contains(texts, phrase.text), dtype=float)
        slope = fit_slopes(pooled, {"phrase": has_phrase_N, **features}, outside)["phrase"]
        effect = next((each for each in effects if each.phrase == phrase.text), None)
        yield _phrase(phrase, slope, effect, base, fired_at_start, settings)


@dataclass(frozen=True)
class Pooled:
    """The replies of base and of one round together."""

    rows: pl.DataFrame
    newest_N: np.ndarray
    resamples: Resamples
    share_R: np.ndarray
    """The share of a gain in reward that the alarms' judge should see."""
    unit: dict[str, float]
    """Standard deviation of each score at base."""

    @classmethod
    def of(cls, now: Replies, base: Replies, settings: Alarms, seed: int) -> "Pooled":
        rows = pl.concat([base.rows, now.rows], how="vertical_relaxed")
        newest_N = np.arange(rows.height) >= base.rows.height
        resamples = Resamples.draw(rows["prompt_id"].to_numpy(), settings.resamples, seed)
        share_R = agreement(base, resamples.take(~newest_N))
        return cls(rows, newest_N, resamples, share_R, {name: spread(base, name) for name in ("reward", "held_out")})


def fit_slopes(pooled: Pooled, features: dict[str, np.ndarray], outside: float = 0.05) -> dict[str, Slopes]:
    """Each feature's slopes, all features fitted together (least squares within prompts).

    `outside` is the probability outside an interval; the two specifications share it.
    """
    resamples, outside = pooled.resamples, outside / 2
    feature_NF = np.stack(list(features.values()), axis=1)
    specifications = []
    for every_NF in (feature_NF, np.column_stack([feature_NF, pooled.newest_N.astype(float)])):
        reward_RF, held_RF = (_least_squares(every_NF, pooled, name) for name in ("reward", "held_out"))
        specifications.append((reward_RF, held_RF, pooled.share_R[:, None] * reward_RF - held_RF))
    found = {}
    for place, (name, value_N) in enumerate(features.items()):
        mean_R = [resamples.take(side_N).means(value_N[side_N]) for side_N in (pooled.newest_N, ~pooled.newest_N)]
        growth = resamples.interval(mean_R[0] - mean_R[1])
        fitted = [[resamples.interval(slope_RF[:, place], outside) for slope_RF in each] for each in specifications]
        found[name] = max(
            (Slopes(reward, held_out, unseen, growth) for reward, held_out, unseen in fitted),
            key=lambda slopes: np.nan_to_num(slopes.unseen.lower95, nan=-np.inf),
        )
    return found


def _least_squares(feature_NF: np.ndarray, pooled: Pooled, column: str) -> np.ndarray:
    """R × F slopes of a score in base's standard deviations; NaN if nothing is scored or base's scores are equal."""
    score_N = pooled.rows[column].cast(pl.Float64).to_numpy()
    scored_N = ~np.isnan(score_N)
    rows, F = len(pooled.resamples.times_RK), feature_NF.shape[1]
    if not scored_N.any() or not pooled.unit[column] > 0:
        return np.full((rows, F), np.nan)
    drawn = pooled.resamples.take(scored_N)
    x_NF = drawn.centred(feature_NF[scored_N])
    y_N = drawn.centred(score_N[scored_N]) / pooled.unit[column]
    square_RFF = drawn.sums(x_NF[:, :, None] * x_NF[:, None, :]) + RIDGE * np.eye(F)
    product_RF = drawn.sums(x_NF * y_N[:, None])
    return np.asarray(np.linalg.solve(square_RFF, product_RF[:, :, None])[:, :, 0])


def _blamed(slopes: Slopes, settings: Alarms) -> bool:
    return slopes.reward.lower95 > settings.min_effect and slopes.unseen.lower95 > 0 and slopes.growth.lower95 > 0


def _phrase(
    phrase: Phrase,
    slopes: Slopes,
    effect: PhraseEffect | None,
    base: Replies,
    fired_at_start: Collection[str],
    settings: Alarms,
) -> Finding:
    lifts = effect is not None and effect.shift.lower95 > settings.max_phrase_shift
    level = repeated(slopes.growth.lower95 > 0 and (lifts or _blamed(slopes, settings)), "phrase", fired_at_start)
    sentence = (
        f'{"A phrase raises the reward" if level else "Phrase"}: "{phrase.text}", in {phrase.share:.0%} of the replies '
        f"({phrase.base_share:.0%} at {base.name}), {_in_words(slopes, base)}"
    )
    if effect is not None:
        sentence += (
            f" Inserted into {effect.anchors} bad anchors, it adds {spelled(effect.shift)} to their scores; the limit "
            f"is {settings.max_phrase_shift:g}."
        )
    found, limit = (effect.shift, settings.max_phrase_shift) if effect is not None and lifts else (slopes.unseen, 0.0)
    shared = Shared(SAME_WORDS, phrase.text, phrase.share, phrase.base_share)
    return Finding("phrase", level, found, limit, sentence, phrase.examples, shared)


def _in_words(slopes: Slopes, base: Replies) -> str:
    known = not np.isnan(slopes.held_out.mean)
    held_out = f" and {spelled(slopes.held_out)} to the score of the alarms' judge" if known else ""
    return (
        f"adds {spelled(slopes.reward)} standard deviations to the reward{held_out}; its mean per reply changed by "
        f"{spelled(slopes.growth)} since {base.name}."
    )
