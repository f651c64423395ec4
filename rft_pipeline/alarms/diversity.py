"""Does the policy say one thing to everybody? Replies against base's: word pairs, repetition, likeness, distance."""

from collections.abc import Iterator

import numpy as np
import polars as pl

from rft_pipeline.alarms.findings import Finding, Level, spelled
from rft_pipeline.alarms.replies import Replies, change, rises
from rft_pipeline.campaign import Alarms
from rft_pipeline.rules.words import words
from rft_pipeline.stats import Interval, distinct_n, repetition

NO_RISE = 0.02
"""A rise in repetition that is none, however many times base's it is."""


def diversity(now: Replies, base: Replies, how: Alarms, seed: int) -> Iterator[Finding]:
    """Distinct word pairs, repetition and cross-prompt similarity. The first two stop. The last warns, and only where
    the held-out score has not grown: good answers may well be alike."""
    mine, theirs = _equally_long(now, base)
    share = distinct_n(mine, 2) / distinct_n(theirs, 2)
    if not np.isnan(share):  # else one of the two says no two words
        yield Finding(
            "distinct2",
            Level.STOP if share < how.min_distinct2 else Level.OK,
            Interval(share),
            how.min_distinct2,
            f"Distinct-2: replies hold {share:.2f} of base's distinct word pairs; {how.min_distinct2:g} is the least.",
        )
    repeats, before = (float(np.mean([repetition(text) for text in each.rows["completion"]])) for each in (now, base))
    fires = repeats > how.max_repetition * before and repeats - before > NO_RISE
    yield Finding(
        "repetition",
        Level.STOP if fires else Level.OK,
        Interval(repeats),
        how.max_repetition * before,
        f"Repetition: a share of {repeats:.3f} of the word triples repeats within a reply, base's {before:.3f}; "
        f"{how.max_repetition:g} times that is allowed.",
    )
    alike = similarity(now.rows) - similarity(base.rows)
    gained = rises(change(now, base, "held_out", how.resamples, seed))
    yield Finding(
        "similarity",
        Level.WARN if alike > how.max_similarity_rise and not gained else Level.OK,
        Interval(alike),
        how.max_similarity_rise,
        f"Similarity: replies to different prompts are alike by {alike:.2f} more than base's; "
        f"{how.max_similarity_rise:g} is allowed without gain.",
    )


def distance(now: Replies, how: Alarms) -> Iterator[Finding]:
    """The budget of KL to base, in nats per reply; nothing where it was not estimated. The estimate itself is compared,
    not a bound of its interval."""
    if now.kl is None:
        return
    far = now.kl.mean
    level = Level.STOP if far > how.kl_stop else Level.WARN if far > how.kl_warn else Level.OK
    limit = how.kl_stop if level is Level.STOP else how.kl_warn
    sentence = (
        f"KL: the policy's KL to base is {spelled(now.kl)} nats per reply, estimated on replies drawn at temperature "
        f"1; {limit:g} are allowed."
    )
    yield Finding("kl", level, now.kl, limit, sentence)


def similarity(rows: pl.DataFrame) -> float:
    """Mean cosine of word counts (tf-idf) between the first replies to different prompts; 0 when there are no words."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = rows.sort("prompt_id", "sample_index").unique("prompt_id", keep="first", maintain_order=True)["completion"]
    count = len(texts)
    if count < 2 or not any(words(text) for text in texts):
        return 0.0
    # no inverse document frequencies: words that all replies share are what is looked for
    vector_NW = TfidfVectorizer(tokenizer=words, token_pattern=None, use_idf=False).fit_transform(texts.to_list())
    summed_W = np.asarray(vector_NW.sum(axis=0)).ravel()
    own = float(vector_NW.multiply(vector_NW).sum())
    total = float(summed_W @ summed_W)
    return (total - own) / (count * (count - 1))


def _equally_long(now: Replies, base: Replies) -> tuple[list[str], list[str]]:
    """Both policies' replies, each cut to the words of the shorter of the two: distinct pairs fall with length."""
    keys = ["prompt_id", "sample_index"]
    pairs = now.rows.select(*keys, "completion").join(
        base.rows.select(*keys, pl.col("completion").alias("other")), on=keys, maintain_order="left"
    )
    mine, theirs = [], []
    for text, other in pairs.select("completion", "other").iter_rows():
        own, others = words(text), words(other)
        shorter = min(len(own), len(others))
        mine.append(" ".join(own[:shorter]))
        theirs.append(" ".join(others[:shorter]))
    return mine, theirs
