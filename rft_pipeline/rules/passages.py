"""The passages that a prompt's row holds as context, and the claims of a reply with the passages that each cites."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeGuard

from icu4py.breakers import SentenceBreaker

from rft_pipeline.rules.content_words import content_of, numbers_of, plain_words, stop_words

MARKER = re.compile(r"[\[【]\s*(\d{1,9}(?:\s*[-–,;]\s*\d{1,9}){0,50}+)\s*[\]】]")
_NUMBERED = re.compile(r"^\s*\[(\d{1,9})\]", re.MULTILINE)
_LIST_MARK = re.compile(r"^[ \t]*(?:[-*+•>]|#{1,6}|\d{1,3}[.)])[ \t]+", re.MULTILINE)
_HELD = "\ue000"
"""Stands for a marker while a reply is cut into sentences: a breaker takes the brackets of [1] for their ends."""
_HELD_GROUP = re.compile(rf"((?:\s*{_HELD})+)")
KEYWORDS = 5
"""Words from which on a text without enough stop words is a list of keywords."""

Context = str | list[str]


def is_context(value: Any) -> TypeGuard[Context]:
    """Whether a column's value holds passages: a text that is not empty, or a list of texts."""
    if isinstance(value, list):
        return all(isinstance(passage, str) for passage in value)
    return isinstance(value, str) and bool(value.strip())


CONTEXT = "a text that is not empty, or a list of texts (an empty list: nothing was found to cite)"
"""What `is_context` allows, in words."""


def passages_of(context: Context) -> dict[int, str]:
    """Passages by number: those of a list in order; those of a text whose lines begin with [n]; else one, number 1."""
    if isinstance(context, list):
        return dict(enumerate(context, start=1))
    starts = list(_NUMBERED.finditer(context))
    ends = [*(each.start() for each in starts), len(context)][1:]
    found: dict[int, str] = {}
    for start, end in zip(starts, ends, strict=True):
        number = int(start[1])
        found[number] = "\n".join(filter(None, (found.get(number), context[start.end() : end].strip())))
    return found or {1: context}


class Citation(NamedTuple):
    text: str
    """As the reply wrote it, e.g. [2-4]."""
    numbers: tuple[int, ...]
    """The first and the last number of a range, or one number."""

    def cites(self, known: dict[int, str]) -> list[int]:
        """The numbers of the passages that it cites; none unless all are known."""
        if len(self.numbers) > 2 or list(self.numbers) != sorted(self.numbers) or not known.keys() >= set(self.numbers):
            return []
        return [number for number in known if self.numbers[0] <= number <= self.numbers[-1]]


class Claim(NamedTuple):
    """A sentence, or the part of it that ends in a citation."""

    text: str
    sentence: str
    cited: tuple[Citation, ...] = ()


def citations(marker: str) -> Iterator[Citation]:
    """The citations of what stands inside one marker, e.g. "1, 3-5"."""
    for part in re.split(r"[,;]", marker):
        yield Citation(f"[{part.strip()}]", tuple(int(number) for number in re.split(r"[-–]", part)))


def claims(reply: str, language: str) -> list[Claim]:
    """What a reply states, piece by piece.

    A sentence is cut behind each of its citations, so that each piece stands with the passages it cites. A citation
    that follows a full stop belongs to the sentence before it, unless that one has a citation. A piece without content
    words ("According to", "Yes.") is no claim: its citations belong to the next piece of the sentence; if there is
    none, they stand with the piece, which no passage supports.
    """
    markers: list[str] = []

    def hold(found: re.Match[str]) -> str:
        markers.append(found[1])
        return _HELD

    held = MARKER.sub(hold, _LIST_MARK.sub("", reply.replace(_HELD, " ").encode("utf-8", "replace").decode()))
    numbers = iter(markers)
    found: list[Claim] = []
    same_line = False
    for sentence in SentenceBreaker(held, language):
        whole = sentence.replace(_HELD, " ").strip()
        waiting: tuple[Citation, ...] = ()
        left = ""
        parts = [*_HELD_GROUP.split(sentence), ""]
        for place, (text, group) in enumerate(zip(parts[::2], parts[1::2], strict=True)):
            cited = tuple(each for _ in range(group.count(_HELD)) for each in citations(next(numbers)))
            if content_of(text, language):
                found.append(Claim(text.strip(), whole, (*waiting, *cited)))
                waiting, left = (), ""
            elif place == 0 and same_line and not plain_words(text) and found and not found[-1].cited:
                found[-1] = found[-1]._replace(cited=cited)
            else:
                waiting, left = (*waiting, *cited), left + text
        if waiting:
            found.append(Claim(left.strip(), whole, waiting))
        same_line = not sentence.endswith("\n")
    return found


def supports(passages: list[str], claim: str, asked: str, least: float, language: str) -> bool:
    """Whether some passages together hold what a claim says.

    That is at least the share `least` of its content words, and all its numbers. Words of the question `asked` count
    only where the claim has no others: to repeat them states nothing.
    """
    said = content_of(claim, language)
    new = said - content_of(asked, language) or said
    known = frozenset[str]().union(*(content_of(passage, language) for passage in passages))
    return bool(new) and numbers_of(new) <= known and len(new & known) >= least * len(new)


def is_keywords(text: str, share: float, language: str) -> bool:
    """Whether a text of some words has fewer stop words than `share` of them: a list of keywords, not a sentence."""
    found = plain_words(text)
    return len(found) >= KEYWORDS and sum(word in stop_words(language) for word in found) < share * len(found)


def question_of(prompt: str, context: Context) -> str:
    """The prompt without the context, if the context stands in it."""
    for text in [context] if isinstance(context, str) else context:
        prompt = prompt.replace(text, " ") if text.strip() else prompt
    return prompt
