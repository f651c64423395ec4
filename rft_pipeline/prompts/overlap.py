"""Whether eval prompts were seen in training: equal texts, and texts that share most of their word triples.

Near duplicates are found by the Jaccard similarity of word 3-grams (shingles; Broder 1997): shared over all different
ones, in [0, 1]. A prompt that is near shares more than `NEAR` of the triples, hence one of the rarest ones (prefix
filter; Chaudhuri et al. 2006): only prompts that do are compared. Prompts whose own system turns say different things
are different prompts, however like their questions are.
"""

import json
import math
import unicodedata
from collections import defaultdict
from typing import NamedTuple

import polars as pl

from rft_pipeline.campaign.addresses import own_system
from rft_pipeline.rules.words import pieces

NEAR = 0.6
"""Two prompts more alike than this are one prompt reworded."""


class Pair(NamedTuple):
    train_id: str
    eval_id: str
    similarity: float
    """1.0 for texts that are equal but for case, punctuation and white space."""


def overlaps(train: pl.DataFrame, held_out: pl.DataFrame) -> list[Pair]:
    """For each eval prompt the train prompt most like it, where they are more than `NEAR` alike; most alike first."""
    return Known(train).alike(held_out)


class Known:
    """Prompts that others are held against, made ready once."""

    def __init__(self, prompts: pl.DataFrame) -> None:
        found = _read(prompts)
        self.ids = prompts["id"]
        self.shingles = [_triples(each) for each in found]
        self.by_text = {each.whole: i for i, each in reversed(list(enumerate(found)))}
        self.by_triple: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for i, triples in enumerate(self.shingles):
            for triple in triples:
                self.by_triple[triple].append(i)

    def alike(self, others: pl.DataFrame) -> list[Pair]:
        """Each of the others that is like one of these, with the one most like it; most alike first."""
        found = (self._nearest(name, each) for name, each in zip(others["id"], _read(others), strict=True))
        return sorted((pair for pair in found if pair is not None), key=lambda pair: -pair.similarity)

    def _nearest(self, name: str, mine: "_Prompt") -> Pair | None:
        if (same := self.by_text.get(mine.whole)) is not None:
            return Pair(self.ids[same], name, 1.0)
        triples = _triples(mine)
        rarest = sorted(triples, key=lambda triple: len(self.by_triple.get(triple, ())))
        enough = rarest[: len(rarest) - math.ceil(NEAR * len(rarest)) + 1]  # whoever is near shares one of these
        candidates = sorted({i for triple in enough for i in self.by_triple.get(triple, ())})
        alike = [(len(triples & self.shingles[i]) / len(triples | self.shingles[i]), i) for i in candidates]
        similarity, i = max(alike, default=(0.0, -1), key=lambda pair: (pair[0], -pair[1]))
        return Pair(self.ids[i], name, similarity) if similarity > NEAR else None


def words(text: str) -> list[str]:
    """A text's words after case folding, without punctuation; the text itself when it is nothing but punctuation."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return [piece for piece in pieces(folded.translate(_SPACES)) if not piece.isspace()] or [folded]


class _Prompt(NamedTuple):
    """A prompt by its words."""

    system: str
    """Of its own system turn; empty without one."""
    asked: list[str]

    @property
    def whole(self) -> tuple[str, str]:
        return self.system, "".join(self.asked)


def _triples(found: _Prompt) -> set[tuple[str, ...]]:
    """The word triples of what is asked, those under another system turn being others."""
    return {(found.system, *found.asked[i : i + 3]) for i in range(max(1, len(found.asked) - 2))}


def _read(prompts: pl.DataFrame) -> list[_Prompt]:
    return [
        _Prompt(
            " ".join(words(own_system(messages))),
            words("\n".join(turn["content"] for turn in json.loads(messages) if turn["role"] != "system")),
        )
        for messages in prompts["messages"]
    ]


class _PunctuationToSpace(dict[int, int]):
    def __missing__(self, point: int) -> int:
        self[point] = ord(" ") if unicodedata.category(chr(point))[0] in "PZC" else point
        return self[point]


_SPACES = _PunctuationToSpace()
