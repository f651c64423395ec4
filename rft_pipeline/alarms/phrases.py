"""N-grams that are more frequent in replies with a high reward than in replies to the same prompts with a low one.

Weighted log-odds with an informative Dirichlet prior (Monroe, Colaresi and Quinn 2008): the prior is the frequency in
all replies, so that a rare n-gram needs more evidence than a common one. Each reply counts an n-gram once.
"""

import functools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from rft_pipeline.alarms.replies import Replies
from rft_pipeline.rules.words import words
from rft_pipeline.stats import Interval

LONGEST = 4
"""Words of the longest n-gram."""
PRIOR = 0.1
"""The prior's weight, as a share of all counts."""
MIN_Z = 3.0
"""Smallest z of the log-odds that is reported."""
MIN_SHARE = 0.05
"""Smallest share of the newest replies with an n-gram that is reported."""
SAME = 0.5
"""Two n-grams that share this part of their replies count as one phrase."""


class Phrase(NamedTuple):
    """An n-gram that goes with a high reward."""

    text: str
    log_odds: float
    z: float
    """Log-odds over their standard deviation."""
    high: int
    """Replies with it whose reward is above their prompt's median."""
    low: int
    """Replies with it whose reward is below their prompt's median."""
    share: float
    """Share of the newest round's replies with it."""
    base_share: float
    examples: tuple[str, ...]


class PhraseEffect(NamedTuple):
    """What a phrase adds to the scores of bad anchors."""

    phrase: str
    shift: Interval
    """Mean score with the phrase minus mean score with as many other words."""
    anchors: int


def phrases(now: Replies, base: Replies, most: int) -> list[Phrase]:
    """Up to `most` phrases with the largest z in a round's and base's replies; one of several in the same replies."""
    texts, high, low = _sides(now, base)
    newest, at_base = (each.rows["completion"].to_list() for each in (now, base))
    in_newest = counts(newest)
    scored = [(z, odds, gram) for gram, (odds, z) in log_odds(high, low).items() if z >= MIN_Z]
    chosen: list[tuple[float, float, str]] = []
    replies_by_gram: dict[str, set[int]] = {}
    for z, odds, gram in sorted(scored, key=lambda each: (-each[0], -len(each[2]), each[2])):
        if len(chosen) == most or in_newest[gram] < MIN_SHARE * len(newest):
            continue
        replies = {place for place, has_gram in enumerate(contains(texts, gram)) if has_gram}
        if all(len(replies & other) < SAME * len(replies | other) for other in replies_by_gram.values()):
            replies_by_gram[gram] = replies
            chosen.append((z, odds, gram))
    return [
        Phrase(
            gram,
            odds,
            z,
            high[gram],
            low[gram],
            in_newest[gram] / len(newest),
            sum(contains(at_base, gram)) / len(at_base),
            now.examples(contains(newest, gram)),
        )
        for z, odds, gram in chosen
    ]


def _sides(now: Replies, base: Replies) -> tuple[list[str], Counter[str], Counter[str]]:
    """The replies with a reward, and the n-grams of those above and of those below their prompt's median."""
    rows = pl.concat([base.rows, now.rows], how="vertical_relaxed").drop_nulls("reward")
    median = pl.col("reward").median().over("prompt_id")
    high, low = (rows.filter(side)["completion"] for side in (pl.col("reward") > median, pl.col("reward") < median))
    return rows["completion"].to_list(), counts(high), counts(low)


def log_odds(high: Mapping[str, int], low: Mapping[str, int]) -> dict[str, tuple[float, float]]:
    """N-gram → log-odds of being in a high rather than a low reply, and its z."""
    grams = sorted({*high, *low})
    high_W, low_W = (np.array([side.get(gram, 0) for gram in grams], dtype=float) for side in (high, low))
    prior_W = PRIOR * (high_W + low_W)
    sides = []
    for count_W in (high_W, low_W):
        all_ = count_W.sum() + prior_W.sum()
        sides.append(np.log((count_W + prior_W) / (all_ - count_W - prior_W)))
    spread_W = np.sqrt(1 / (high_W + prior_W) + 1 / (low_W + prior_W))
    odds_W = sides[0] - sides[1]
    return {gram: (float(odds), float(z)) for gram, odds, z in zip(grams, odds_W, odds_W / spread_W, strict=True)}


def counts(texts: Iterable[str]) -> Counter[str]:
    """N-gram → number of texts that contain it."""
    found: Counter[str] = Counter()
    for text in texts:
        found.update(grams(text))
    return found


def grams(text: str) -> set[str]:
    own = words(text.lower())
    return {" ".join(own[place : place + n]) for n in range(1, LONGEST + 1) for place in range(len(own) - n + 1)}


def contains(texts: Sequence[str], gram: str) -> list[bool]:
    """Whether each text contains an n-gram."""
    return [f" {gram} " in normalised(text) for text in texts]


@functools.lru_cache(maxsize=4096)
def normalised(text: str) -> str:
    """The words of a text, each with one space on both sides."""
    return f" {' '.join(words(text.lower()))} "


def put_into(completion: str, phrase: str) -> str:
    """A reply with the phrase appended as its last sentence."""
    return f"{completion.rstrip()} {phrase[:1].upper()}{phrase[1:]}.".lstrip()


def control(now: Replies, base: Replies, phrase: str) -> str:
    """As many other words as the phrase has, to measure what the added length alone does.

    The n-gram of that length, without a word of the phrase, whose z is closest to 0 (of several, the first in the
    alphabet). Falls back to "and so on", repeated.
    """
    own = phrase.split()
    _, high, low = _sides(now, base)
    fitting = [
        (abs(z), gram)
        for gram, (_, z) in log_odds(high, low).items()
        if len(gram.split()) == len(own) and not set(gram.split()) & set(own)
    ]
    return min(fitting)[1] if fitting else " ".join((["and", "so", "on"] * len(own))[: len(own)])
