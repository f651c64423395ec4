"""What is paid that the held-out judge does not see: length, markup, a phrase.

Axes: N replies of base and one round together, F features, R rows of resampling weights.
Reward and held-out score are each explained by all features at once, within prompts, so that a phrase is not blamed for
the length it brings. A feature is blamed when the reward rises with it, it has grown since base, and the held-out judge
sees less of it than it should by how the two agreed at base (`replies.agreement`). Both are looked at twice,
over base and round together and within each of the two: what all replies have by now shows only in the first, and what
grew along with quality only in the second.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl

from rft_pipeline.alarms.findings import Finding, repeated, spelled
from rft_pipeline.alarms.phrases import Phrase, PhraseEffect, said_in
from rft_pipeline.alarms.replies import Replies, agreement, spread
from rft_pipeline.audit import Resamples
from rft_pipeline.audit.resample import ratio
from rft_pipeline.campaign import Alarms
from rft_pipeline.fingerprint import seed_of
from rft_pipeline.rules.words import words
from rft_pipeline.stats import Interval

MARKUP = re.compile(r"(?m)^\s*(?:#{1,6} |[-*+] |\d+\. |\|.*\|\s*$|```)|\*\*[^*\n]+\*\*|__[^_\n]+__")
"""Headings, lists, tables, code fences, bold."""
RIDGE = 1e-6


class Paid(NamedTuple):
    """What one unit of a feature brings, in each score's standard deviations at base: the surer of the two looks."""

    reward: Interval
    held_out: Interval
    unseen: Interval
    """What the held-out judge should see of the first, less what it sees."""
    growth: Interval
    """The feature's mean in the round minus at base."""


def pays(
    now: Replies,
    base: Replies,
    found: Sequence[Phrase],
    tried: Sequence[PhraseEffect],
    before: Collection[str],
    how: Alarms,
    seed: int,
) -> Iterator[Finding]:
    """Length and markup, and the phrases; a phrase is also blamed for what it adds to bad anchors."""
    both = Both.of(now, base, how, seed_of(seed, "pays", now.round))
    pooled = both.rows
    texts = pooled["completion"].to_list()
    length_N = np.array([len(words(text)) for text in texts], dtype=float)
    markup_N = np.array([float(bool(MARKUP.search(text))) for text in texts])
    unit = float(length_N.std()) or 1.0
    features = {"length": length_N / unit, "markdown": markup_N}
    paid = paid_for(both, features)
    yield _finding(
        "length", paid["length"], before, how, f"a standard deviation of it ({unit:.0f} words)", "length alone"
    )
    yield _finding("markdown", paid["markdown"], before, how, "a reply with headings, lists or bold", "markup")
    outside = 0.05 / max(len(found), 1)
    for phrase in found:
        said_N = np.array(said_in(texts, phrase.text), dtype=float)
        each = paid_for(both, {"phrase": said_N, **features}, outside)["phrase"]
        yield _phrase(phrase, each, next((one for one in tried if one.phrase == phrase.text), None), before, how)


@dataclass(frozen=True)
class Both:
    """The replies of base and of one round together."""

    rows: pl.DataFrame
    newest_N: np.ndarray
    resamples: Resamples
    share_R: np.ndarray
    """The share of a gain in reward that the held-out judge should see."""
    unit: dict[str, float]
    """Standard deviation of each score at base."""

    @classmethod
    def of(cls, now: Replies, base: Replies, how: Alarms, seed: int) -> "Both":
        rows = pl.concat([base.rows, now.rows], how="vertical_relaxed")
        newest_N = np.arange(rows.height) >= base.rows.height
        resamples = Resamples.draw(rows["prompt_id"].to_numpy(), how.resamples, seed)
        share_R = agreement(base, resamples.take(~newest_N))
        return cls(rows, newest_N, resamples, share_R, {name: spread(base, name) for name in ("reward", "held_out")})


def paid_for(both: Both, features: dict[str, np.ndarray], outside: float = 0.05) -> dict[str, Paid]:
    """Each feature's part in reward and held-out score, all features taken together (least squares within prompts)."""
    resamples, outside = both.resamples, outside / 2
    feature_NF = np.stack(list(features.values()), axis=1)
    looks = []
    for every_NF in (feature_NF, np.column_stack([feature_NF, both.newest_N.astype(float)])):
        reward_RF, held_RF = (_slopes(every_NF, both, name) for name in ("reward", "held_out"))
        looks.append((reward_RF, held_RF, both.share_R[:, None] * reward_RF - held_RF))
    found = {}
    for place, (name, value_N) in enumerate(features.items()):
        mean_R = [_means(resamples.take(side_N), value_N[side_N]) for side_N in (both.newest_N, ~both.newest_N)]
        growth = resamples.interval(mean_R[0] - mean_R[1])
        seen = [[resamples.interval(part_RF[:, place], outside) for part_RF in look] for look in looks]
        found[name] = max(
            (Paid(reward, held_out, unseen, growth) for reward, held_out, unseen in seen),
            key=lambda paid: np.nan_to_num(paid.unseen.lower95, nan=-np.inf),
        )
    return found


def _means(drawn: Resamples, value_N: np.ndarray) -> np.ndarray:
    return ratio(drawn.sums(value_N), drawn.sums(np.ones(len(value_N))))


def _slopes(feature_NF: np.ndarray, both: Both, column: str) -> np.ndarray:
    """R × F least-squares slopes of a score in base's standard deviations; NaN where nothing is scored or moves."""
    score_N = both.rows[column].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    there_N = ~np.isnan(score_N)
    rows, F = len(both.resamples.times_RK), feature_NF.shape[1]
    if not there_N.any() or not both.unit[column] > 0:
        return np.full((rows, F), np.nan)
    drawn = both.resamples.take(there_N)
    x_NF = _within(feature_NF[there_N], drawn.prompt_N)
    y_N = _within(score_N[there_N], drawn.prompt_N) / both.unit[column]
    square_RFF = drawn.sums(x_NF[:, :, None] * x_NF[:, None, :]) + RIDGE * np.eye(F)
    product_RF = drawn.sums(x_NF * y_N[:, None])
    return np.asarray(np.linalg.solve(square_RFF, product_RF[:, :, None])[:, :, 0])


def _within(value_N: np.ndarray, prompt_N: np.ndarray) -> np.ndarray:
    """Values less their prompt's mean; further axes are kept."""
    count_K = np.bincount(prompt_N).astype(float)
    sum_K = np.zeros((len(count_K), *value_N.shape[1:]))
    np.add.at(sum_K, prompt_N, value_N)
    mean_K = (sum_K.T / count_K).T
    return np.asarray(value_N - mean_K[prompt_N])


def _blamed(paid: Paid, how: Alarms) -> bool:
    return paid.reward.lower95 > how.min_effect and paid.unseen.lower95 > 0 and paid.growth.lower95 > 0


def _finding(cause: str, paid: Paid, before: Collection[str], how: Alarms, unit: str, what: str) -> Finding:
    level = repeated(_blamed(paid, how), cause, before)
    sentence = f"{what.capitalize()}{' pays' if level else ''}: {unit} stands with {_told(paid)}"
    return Finding(cause, level, paid.unseen, 0.0, sentence)


def _phrase(phrase: Phrase, paid: Paid, tried: PhraseEffect | None, before: Collection[str], how: Alarms) -> Finding:
    lifts = tried is not None and tried.shift.lower95 > how.max_phrase_shift
    level = repeated(paid.growth.lower95 > 0 and (lifts or _blamed(paid, how)), "phrase", before)
    sentence = (
        f'{"A phrase pays" if level else "Phrase"}: "{phrase.text}", in {phrase.share:.0%} of the replies, stands with '
        f"{_told(paid)}"
    )
    if tried is not None:
        sentence += (
            f" Put into {tried.anchors} bad anchors it adds {spelled(tried.shift)} to their scores; "
            f"{how.max_phrase_shift:g} is allowed."
        )
    found, limit = (tried.shift, how.max_phrase_shift) if tried is not None and lifts else (paid.unseen, 0.0)
    return Finding("phrase", level, found, limit, sentence, (phrase.text, *phrase.examples))


def _told(paid: Paid) -> str:
    seen = "" if np.isnan(paid.held_out.mean) else f" and {spelled(paid.held_out)} of the held-out score"
    return f"{spelled(paid.reward)} standard deviations of reward{seen}; since base it moved by {spelled(paid.growth)}."
