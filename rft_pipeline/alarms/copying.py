"""Do replies share a fixed phrase, copy the system prompt or their own prompt, or are they lists of keywords?

Each finding compares a share with base's, paired by prompt: what base does already is no alarm, only growth is. Growth
whose lower bound is above the warning limit warns, above the stop limit it stops the round. A fixed phrase only stops
if the score of the alarms' judge is known and did not rise, because good replies may share a phrase. The others stop
whatever the score of the alarms' judge is: judges that read likelihoods like copied text and keywords.

Words are compared in lower case and without punctuation.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np
import polars as pl

from rft_pipeline.alarms.findings import SAME_WORDS, Finding, Level, Shared, spelled
from rft_pipeline.alarms.phrases import contains, normalised
from rft_pipeline.alarms.replies import Replies, change, known, rises
from rft_pipeline.campaign import Alarms
from rft_pipeline.fingerprint import seed_of
from rft_pipeline.stats import means_by_prompt, paired_difference

PHRASE = 3
"""Words of the shortest phrase that counts as fixed."""
RUN = 4
"""Words of the shortest run that counts as copied."""
LONGEST = 20
"""Words of the longest phrase that is named."""
FEWEST_WITH = 2
"""A phrase of one reply alone is its own wording."""
MOST_AT_BASE = 0.5
"""A phrase in more of base's replies is not new."""
LIST = 3
"""Words of the shortest reply that counts as a list."""
COMMON = 0.2
"""A word in this share of the prompts is a common word, in any language: an article, a pronoun, a preposition."""
FEWEST = 5
"""With fewer common words, a reply without them says nothing."""
NEARLY_ALL = 0.9
"""A phrase is extended by a word that follows or precedes it in this share of its replies."""


class CopiedWords(NamedTuple):
    """What one reply copies from a text."""

    share: float
    """Share of the reply's words that are in a copied run."""
    runs: tuple[str, ...]


class Seen(NamedTuple):
    """A number of each reply whose mean should not grow."""

    now_N: list[float]
    base_N: list[float]
    sentence: str
    """What was seen, without a full stop."""
    more: str = ""
    """A sentence for the end."""
    shared: Shared | None = None


def copying(now: Replies, base: Replies, settings: Alarms, seed: int) -> Iterator[Finding]:
    """`fixed_phrase`, `system_words` (if there is a system prompt), `prompt_beginning`, and `keyword_list` (if the
    prompts have common words)."""

    def finding(cause: str, seen: Seen, warn: float, stop: float, may_stop: bool = True) -> Finding:
        named = seed_of(seed, "alarm", cause, now.round, base.round)
        rise = paired_difference(_means(now, seen.now_N), _means(base, seen.base_N), settings.resamples, named)
        level = Level.WARN if rise.lower95 > warn else Level.OK
        if may_stop and rise.lower95 > stop:
            level = Level.STOP
        limit = stop if level is Level.STOP else warn
        sentence = f"{seen.sentence}. The share changed by {spelled(rise)} since {base.name}; it may grow by {limit:g}."
        examples = now.examples([n > 0 for n in seen.now_N])
        return Finding(cause, level, rise, limit, sentence + seen.more, examples, seen.shared)

    held_out = change(now, base, "held_out", settings.resamples, seed)
    not_better = known(held_out) and not rises(held_out)
    fixed = _fixed_phrase(now, base)
    yield finding("fixed_phrase", fixed, settings.fixed_phrase_warn, settings.fixed_phrase_stop, not_better)
    if any(now.rows["system"]):
        yield finding("system_words", _system_words(now, base), settings.system_words_warn, settings.system_words_stop)
    beginning = _prompt_beginning(now, base)
    yield finding("prompt_beginning", beginning, settings.prompt_beginning_warn, settings.prompt_beginning_stop)
    common = common_words(now)
    if len(common) >= FEWEST:
        lists = _keyword_list(now, base, common)
        yield finding("keyword_list", lists, settings.keyword_list_warn, settings.keyword_list_stop)


def _means(replies: Replies, value_N: list[float]) -> dict[str, float]:
    return means_by_prompt(replies.rows.with_columns(pl.Series("value", value_N, pl.Float64)), pl.col("value"))


def _fixed_phrase(now: Replies, base: Replies) -> Seen:
    phrase = new_phrase(now, base)
    if phrase is None:
        nothing = f"Fixed phrase: no phrase that replies share is in more of them than at {base.name}"
        return Seen([0.0] * now.rows.height, [0.0] * base.rows.height, nothing)
    now_N, base_N = (_has_own(each, phrase) for each in (now, base))
    shares = f"{_share(now_N)} of the replies, {_share(base_N)} at {base.name}"
    shared = _shared(SAME_WORDS, now_N, base_N, phrase)
    return Seen(now_N, base_N, f'Fixed phrase: "{phrase}" is in {shares}', shared=shared)


def new_phrase(now: Replies, base: Replies) -> str | None:
    """The phrase whose share of replies grew most since base; None if none grew.

    It has at least three words, is in two replies or more, and neither in the prompt nor in most of base's replies.
    """
    count, before = (Counter(gram for own in map(_own_grams, *_texts(each)) for gram in own) for each in (now, base))
    n, m = now.rows.height, base.rows.height
    shared = (gram for gram, often in count.items() if often >= FEWEST_WITH and before[gram] <= MOST_AT_BASE * m)
    rises = [(count[gram] / n - before[gram] / m, gram) for gram in shared]
    rise, gram = max(rises, default=(0.0, ""))
    return extended(gram, now.rows["completion"].to_list()) if rise > 0 else None


def extended(gram: str, texts: Sequence[str]) -> str:
    """The n-gram with the words around it that nearly all texts with it have."""
    holding = [normalised(text) for text in texts if f" {gram} " in normalised(text)]
    least = NEARLY_ALL * len(holding)
    while len(gram.split()) < LONGEST:
        longer: Counter[str] = Counter()
        for text in holding:
            before, _, after = text.partition(f" {gram} ")
            longer.update(f"{word} {gram}" for word in before.split()[-1:])
            longer.update(f"{gram} {word}" for word in after.split()[:1])
        count, widest = max(((count, text) for text, count in longer.items()), default=(0, ""))
        if count < least:
            break
        gram = widest
        holding = [text for text in holding if f" {gram} " in text]
    return gram


def _texts(replies: Replies) -> tuple[list[str], list[str]]:
    """Each reply, and all that it was given: the system prompt and the turns."""
    rows = replies.rows
    given = rows.select(pl.concat_list("system", "turns").list.join("\n"))
    return rows["completion"].to_list(), given.to_series().to_list()


def _own_grams(reply: str, given: str) -> set[str]:
    own, there = ({" ".join(gram) for gram in _windows(normalised(each).split(), PHRASE)} for each in (reply, given))
    return own - there


def _has_own(replies: Replies, phrase: str) -> list[float]:
    """1 for each reply with a phrase that it was not given."""
    has_N, had_N = (contains(texts, phrase) for texts in _texts(replies))
    return [float(has and not had) for has, had in zip(has_N, had_N, strict=True)]


def _system_words(now: Replies, base: Replies) -> Seen:
    copied = [
        [copied_from(*pair) for pair in each.rows.select("completion", "system").iter_rows()] for each in (now, base)
    ]
    now_N, base_N = ([each.share for each in side] for side in copied)
    counts = Counter(run for each in copied[0] for run in set(each.runs))
    more, shared = "", None
    if counts:
        _, _, run = max((count, len(run), run) for run, count in counts.items())
        has_N, had_N = (contains(each.rows["completion"].to_list(), run) for each in (now, base))
        shared = _shared("copy words of the system prompt", has_N, had_N, _cut(run))
        shares = f"{_share(has_N)} of the replies, {_share(had_N)} at {base.name}"
        more = f' The most frequent run, "{shared.words}", is in {shares}.'
    sentence = (
        f"System prompt: {_share(now_N)} of a reply's words are copied from it in runs of {RUN} or more, "
        f"{_share(base_N)} at {base.name}"
    )
    return Seen(now_N, base_N, sentence, more, shared)


def copied_from(reply: str, source: str) -> CopiedWords:
    """What a reply copies from a text in runs of at least four words."""
    words = normalised(reply).split()
    there = set(_windows(normalised(source).split(), RUN))
    copied = [False] * len(words)
    for place, window in enumerate(_windows(words, RUN)):
        if window in there:
            copied[place : place + RUN] = [True] * RUN
    runs = groupby(zip(copied, words, strict=True), key=lambda each: each[0])
    texts = tuple(" ".join(word for _, word in run) for is_copied, run in runs if is_copied)
    return CopiedWords(sum(copied) / len(words) if words else 0.0, texts)


def _prompt_beginning(now: Replies, base: Replies) -> Seen:
    now_N, base_N = (
        [float(begins_with_prompt(reply, turns[-1])) for reply, turns in each.rows.select("completion", "turns").rows()]
        for each in (now, base)
    )
    sentence = (
        f"Beginning: {_share(now_N)} of the replies begin with the first {RUN} words of their prompt, {_share(base_N)} "
        f"at {base.name}"
    )
    first = next((text for text, value in zip(now.rows["completion"], now_N, strict=True) if value), None)
    if first is None:
        return Seen(now_N, base_N, sentence)
    more = f' One begins with "{" ".join(normalised(first).split()[:RUN])}".'
    return Seen(now_N, base_N, sentence, more, _shared("begin with the words of their own prompt", now_N, base_N))


def begins_with_prompt(reply: str, prompt: str) -> bool:
    """Whether a reply begins with the first four words of its prompt; a shorter prompt has no beginning."""
    first = normalised(prompt).split()[:RUN]
    return len(first) == RUN and normalised(reply).split()[:RUN] == first


def common_words(replies: Replies) -> list[str]:
    """The words in at least a fifth of the prompts, the most frequent first."""
    prompts = replies.rows.unique("prompt_id")["turns"].list.last().to_list()
    counts = Counter(word for prompt in prompts for word in set(normalised(prompt).split()))
    return [
        word
        for word, count in sorted(counts.items(), key=lambda each: (-each[1], each[0]))
        if count >= COMMON * len(prompts)
    ]


def _keyword_list(now: Replies, base: Replies, common: Sequence[str]) -> Seen:
    now_N, base_N = (
        [float(is_keyword_list(reply, common)) for reply in each.rows["completion"]] for each in (now, base)
    )
    examples = ", ".join(f'"{word}"' for word in common[:3])
    sentence = (
        f"Keyword lists: {_share(now_N)} of the replies have {LIST} or more words and none of the common words of the "
        f"prompts ({examples}, …), {_share(base_N)} at {base.name}"
    )
    return Seen(now_N, base_N, sentence, shared=_shared("are lists of keywords", now_N, base_N))


def is_keyword_list(reply: str, common: Collection[str]) -> bool:
    """Whether a reply has at least three words and none of the common ones."""
    own = normalised(reply).split()
    return len(own) >= LIST and not set(own).intersection(common)


def _windows(words: Sequence[str], n: int) -> Iterator[tuple[str, ...]]:
    return zip(*(words[start:] for start in range(n)), strict=False)


def _shared(what: str, now_N: Sequence[float], base_N: Sequence[float], words: str = "") -> Shared:
    return Shared(what, words, float(np.mean(now_N)), float(np.mean(base_N)))


def _share(value_N: Sequence[float]) -> str:
    return f"{np.mean(value_N):.0%}"


def _cut(run: str) -> str:
    words = run.split()
    return run if len(words) <= LONGEST else f"{' '.join(words[:LONGEST])} …"
