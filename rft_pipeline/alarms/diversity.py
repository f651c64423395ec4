"""Do replies stay diverse and close to base? Distinct word pairs, repetition, similarity across prompts, KL to base."""

from collections.abc import Iterator

import numpy as np
import polars as pl

from rft_pipeline.alarms.findings import Finding, Level, spelled
from rft_pipeline.alarms.replies import Replies, change, rises
from rft_pipeline.campaign import Alarms
from rft_pipeline.rules.words import words
from rft_pipeline.stats import Interval, distinct_n, repetition

MIN_RISE = 0.02
"""A smaller rise in repetition never fires, whatever its ratio to base."""


def diversity(now: Replies, base: Replies, settings: Alarms, seed: int) -> Iterator[Finding]:
    """Distinct word pairs and repetition stop the round. Similarity across prompts only warns, and only if the score of
    the alarms' judge did not rise: good answers may be similar."""
    mine, theirs = _equally_long(now, base)
    share = distinct_n(mine, 2) / distinct_n(theirs, 2)
    if not np.isnan(share):  # NaN: no reply of one policy has two words
        yield Finding(
            "distinct2",
            Level.STOP if share < settings.min_distinct2 else Level.OK,
            Interval(share),
            settings.min_distinct2,
            f"Distinct-2: {share:.2f} times the distinct word pairs of {base.name}; the minimum is "
            f"{settings.min_distinct2:g}.",
        )
    repeats, before = (float(np.mean([repetition(text) for text in each.rows["completion"]])) for each in (now, base))
    fires = repeats > settings.max_repetition * before and repeats - before > MIN_RISE
    yield Finding(
        "repetition",
        Level.STOP if fires else Level.OK,
        Interval(repeats),
        settings.max_repetition * before,
        f"Repetition: {repeats:.3f} of the word triples are repeated within a reply, {before:.3f} at {base.name}; "
        f"the limit is {settings.max_repetition:g} times that.",
    )
    alike = similarity(now.rows) - similarity(base.rows)
    gained = rises(change(now, base, "held_out", settings.resamples, seed))
    yield Finding(
        "similarity",
        Level.WARN if alike > settings.max_similarity_rise and not gained else Level.OK,
        Interval(alike),
        settings.max_similarity_rise,
        f"Similarity: the cosine similarity of replies to different prompts changed by {alike:+.2f} since {base.name}; "
        f"without a gain it may rise by {settings.max_similarity_rise:g}.",
    )


def distance(now: Replies, base: Replies, settings: Alarms) -> Iterator[Finding]:
    """The limits on the KL to base, in nats per reply; nothing if it was not estimated. Compares the estimate, not a
    bound of its interval."""
    if now.kl is None:
        return
    kl = now.kl.mean
    level = Level.STOP if kl > settings.kl_stop else Level.WARN if kl > settings.kl_warn else Level.OK
    limit = settings.kl_stop if level is Level.STOP else settings.kl_warn
    sentence = (
        f"KL: the policy's KL to {base.name} is {spelled(now.kl)} nats per reply, estimated on replies sampled at "
        f"temperature 1; the limit is {limit:g}."
    )
    yield Finding("kl", level, now.kl, limit, sentence)


def similarity(rows: pl.DataFrame) -> float:
    """Mean cosine similarity of word counts between the first replies to different prompts; 0 without words."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = rows.sort("prompt_id", "sample_index").unique("prompt_id", keep="first", maintain_order=True)["completion"]
    count = len(texts)
    if count < 2 or not any(words(text) for text in texts):
        return 0.0
    # no inverse document frequencies: words that all replies share are what this must find
    vector_NW = TfidfVectorizer(tokenizer=words, token_pattern=None, use_idf=False).fit_transform(texts.to_list())
    summed_W = np.asarray(vector_NW.sum(axis=0)).ravel()
    own = float(vector_NW.multiply(vector_NW).sum())
    total = float(summed_W @ summed_W)
    return (total - own) / (count * (count - 1))


def _equally_long(now: Replies, base: Replies) -> tuple[list[str], list[str]]:
    """Both policies' replies, each pair cut to its shorter length: the share of distinct pairs falls with length."""
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
