"""Finds eval prompts that are also in the training prompts: equal texts and near duplicates.

Near duplicates have a Jaccard similarity of word 3-grams (shingles; Broder 1997) above `NEAR`. Two such prompts share
at least one of their rarest 3-grams (prefix filter; Chaudhuri et al. 2006), so only those prompts are compared. Prompts
with different system turns of their own are never duplicates.
"""

import json
import math
from collections import defaultdict
from typing import NamedTuple

import polars as pl

from rft_pipeline.campaign.addresses import systems
from rft_pipeline.rules.words import folded_words

NEAR = 0.6
"""Similarity above which two prompts count as one."""


class Overlap(NamedTuple):
    train_id: str
    eval_id: str
    similarity: float
    """1.0 for texts that differ only in case, punctuation and white space."""


def overlaps(train: pl.DataFrame, held_out: pl.DataFrame) -> list[Overlap]:
    """For each eval prompt with a similarity above `NEAR`, the most similar train prompt; most similar pairs first."""
    return Known(train).alike(held_out)


class Known:
    """An index of prompts that others are compared with."""

    def __init__(self, prompts: pl.DataFrame) -> None:
        found = _read(prompts)
        self.ids = prompts["id"]
        self.shingles = [_triples(each) for each in found]
        self.by_text = {each.whole: i for i, each in reversed(list(enumerate(found)))}
        self.by_triple: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for i, triples in enumerate(self.shingles):
            for triple in triples:
                self.by_triple[triple].append(i)

    def alike(self, others: pl.DataFrame) -> list[Overlap]:
        """Each of `others` that is near an indexed prompt, with the most similar one; most similar pairs first."""
        found = (self._nearest(name, each) for name, each in zip(others["id"], _read(others), strict=True))
        return sorted((pair for pair in found if pair is not None), key=lambda pair: -pair.similarity)

    def _nearest(self, name: str, mine: "_Prompt") -> Overlap | None:
        if (same := self.by_text.get(mine.whole)) is not None:
            return Overlap(self.ids[same], name, 1.0)
        triples = _triples(mine)
        rarest = sorted(triples, key=lambda triple: len(self.by_triple.get(triple, ())))
        enough = rarest[: len(rarest) - math.ceil(NEAR * len(rarest)) + 1]  # a near prompt shares one of these
        candidates = sorted({i for triple in enough for i in self.by_triple.get(triple, ())})
        alike = [(len(triples & self.shingles[i]) / len(triples | self.shingles[i]), i) for i in candidates]
        similarity, i = max(alike, default=(0.0, -1), key=lambda pair: (pair[0], -pair[1]))
        return Overlap(self.ids[i], name, similarity) if similarity > NEAR else None


class _Prompt(NamedTuple):
    """The words of a prompt."""

    system: str
    """Words of its own system turn, or of `policy.system` as it was filled for it; empty without one."""
    turns: list[str]

    @property
    def whole(self) -> tuple[str, str]:
        return self.system, "".join(self.turns)


def _triples(found: _Prompt) -> set[tuple[str, ...]]:
    """The word 3-grams of a prompt, each together with the system turn."""
    return {(found.system, *found.turns[i : i + 3]) for i in range(max(1, len(found.turns) - 2))}


def _read(prompts: pl.DataFrame) -> list[_Prompt]:
    return [
        _Prompt(
            " ".join(folded_words(" ".join(systems(messages)))),
            folded_words("\n".join(turn["content"] for turn in json.loads(messages) if turn["role"] != "system")),
        )
        for messages in prompts["messages"]
    ]
