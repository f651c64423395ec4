"""Which words pay? N-grams that stand in well-paid replies more than in badly paid ones to the same prompts.

Weighted log-odds with an informative Dirichlet prior (Monroe, Colaresi and Quinn 2008): the prior is what all replies
say, so that a rare n-gram needs more evidence than a common one. Each reply counts an n-gram once.
"""

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from rft_pipeline.alarms.replies import Replies
from rft_pipeline.rules.words import words
from rft_pipeline.stats import Interval

LONGEST = 4
"""Words of the longest n-gram."""
PRIOR = 0.1
"""The prior's weight, as a share of all that the replies say."""
SURE = 3.0
"""Standard deviations of the log-odds from which an n-gram is told of."""
RARE = 0.05
"""An n-gram in a smaller share of the newest replies is not told of."""
SAME = 0.5
"""Two n-grams with this share of their replies in common are parts of one phrase."""
EXAMPLES = 2


class Phrase(NamedTuple):
    """An n-gram that stands with reward."""

    text: str
    log_odds: float
    z: float
    """Log-odds over their standard deviation."""
    high: int
    """Replies with it that are paid above their prompt's median."""
    low: int
    """Those paid below it; at the median lies neither."""
    share: float
    """Of the newest round's replies, those with it."""
    examples: tuple[str, ...]


class PhraseEffect(NamedTuple):
    """What a phrase does to bad anchors."""

    phrase: str
    shift: Interval
    """Mean score with the phrase minus mean score with other words as long put in its place."""
    anchors: int


def phrases(now: Replies, base: Replies, most: int) -> list[Phrase]:
    """The surest phrases of a round's replies and base's, at most so many; of several that
    stand in the same replies one."""
    rows = pl.concat([base.rows, now.rows], how="vertical_relaxed").drop_nulls("reward")
    median = pl.col("reward").median().over("prompt_id")
    sides = rows.with_columns((pl.col("reward") > median).alias("high"), (pl.col("reward") < median).alias("low"))
    high = counts(sides.filter("high")["completion"].to_list())
    low = counts(sides.filter("low")["completion"].to_list())
    newest = now.rows["completion"].to_list()
    there = counts(newest)
    scored = [(z, odds, gram) for gram, (odds, z) in log_odds(high, low).items() if z >= SURE]
    chosen: list[tuple[float, float, str]] = []
    texts = rows["completion"].to_list()
    where: dict[str, set[int]] = {}
    for z, odds, gram in sorted(scored, key=lambda each: (-each[0], -len(each[2]), each[2])):
        if len(chosen) == most or there[gram] < RARE * len(newest):
            continue
        held = {place for place, said in enumerate(said_in(texts, gram)) if said}
        if all(len(held & other) < SAME * len(held | other) for other in where.values()):
            where[gram] = held
            chosen.append((z, odds, gram))
    return [
        Phrase(
            gram,
            odds,
            z,
            high[gram],
            low[gram],
            there[gram] / len(newest),
            tuple([text for text, said in zip(newest, said_in(newest, gram), strict=True) if said][:EXAMPLES]),
        )
        for z, odds, gram in chosen
    ]


def log_odds(high: Mapping[str, int], low: Mapping[str, int]) -> dict[str, tuple[float, float]]:
    """N-gram → log-odds of standing in a high rather than a low reply, and the same over its standard deviation."""
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


def counts(texts: Sequence[str]) -> Counter[str]:
    """N-gram → texts that hold it."""
    found: Counter[str] = Counter()
    for text in texts:
        found.update(grams(text))
    return found


def grams(text: str) -> set[str]:
    said = words(text.lower())
    return {" ".join(said[place : place + n]) for n in range(1, LONGEST + 1) for place in range(len(said) - n + 1)}


def said_in(texts: Sequence[str], gram: str) -> list[bool]:
    """Whether each text holds an n-gram."""
    return [f" {gram} " in _plainly(text) for text in texts]


@functools.lru_cache(maxsize=4096)
def _plainly(text: str) -> str:
    """The words of a text between single blanks."""
    return f" {' '.join(words(text.lower()))} "


def put_into(completion: str, phrase: str) -> str:
    """A reply with the phrase as its last sentence."""
    return f"{completion.rstrip()} {phrase[:1].upper()}{phrase[1:]}.".lstrip()


def control(now: Replies, base: Replies, phrase: str) -> str:
    """Words as many as the phrase's that stand in replies of all kinds: what the same length alone brings.

    The n-gram of that length whose log-odds lie the fewest standard deviations from 0, of several the first in the
    alphabet; the phrase's own words are not among them. Falls back to "and so on" repeated.
    """
    own = phrase.split()
    rows = pl.concat([base.rows, now.rows], how="vertical_relaxed").drop_nulls("reward")
    median = pl.col("reward").median().over("prompt_id")
    high = counts(rows.filter(pl.col("reward") > median)["completion"].to_list())
    low = counts(rows.filter(pl.col("reward") < median)["completion"].to_list())
    fitting = [
        (abs(z), gram)
        for gram, (_, z) in log_odds(high, low).items()
        if len(gram.split()) == len(own) and not set(gram.split()) & set(own)
    ]
    return min(fitting)[1] if fitting else " ".join((["and", "so", "on"] * len(own))[: len(own)])
