"""Words and sentence ends of texts in any script.

Word boundaries are those of Unicode Standard Annex 29 as ICU sets them, with its dictionaries for Chinese, Japanese,
Thai, Lao, Khmer and Burmese, which put no white space between words.
"""

import unicodedata
from collections.abc import Iterator
from functools import lru_cache

import regex
from icu4py.breakers import SentenceBreaker, WordBreaker

_JOINS = frozenset("-‐‑'’")
_STOP = r"\p{Sentence_Terminal}…‥\u037E"
_CLOSING = (
    r"""\p{Pe}\p{Pf}\p{Pi}"'*_`~\p{Extended_Pictographic}\p{Emoji_Modifier}\p{Regional_Indicator}\uFE0E\uFE0F\u200D"""
)
_UNMARKED = r"[\p{Thai}\p{Lao}]"
_LAST = regex.compile(rf"(?:[{_STOP}]|{_UNMARKED})[{_CLOSING}\s]*+\Z")
_ENDS = regex.compile(rf"[{_STOP}]+(?=[{_CLOSING}]*+(?:\s|\Z))|[。！？｡]+")


def words(text: str) -> list[str]:
    """The words of a text as they are written, in order: what holds a letter or a digit, without punctuation around it.

    Pieces that a hyphen or an apostrophe joins are one word: "don't", "well-kept".
    """
    return list(_words(text))


@lru_cache(maxsize=2048)  # the alarms of a round count the words of the same replies about ten times
def _words(text: str) -> tuple[str, ...]:
    found: list[str] = []
    joint: str | None = None
    """The hyphen or apostrophe right after the last word; empty right after the word itself."""
    for piece in pieces(text):
        if any(map(str.isalnum, piece)):
            if joint and found:
                found[-1] += joint + piece
            else:
                found.append(piece)
            joint = ""
        else:
            joint = piece if piece in _JOINS and joint == "" else None
    return tuple(found)


def pieces(text: str) -> Iterator[str]:
    """The pieces of a text between word boundaries, with white space and punctuation; lone surrogates become "?"."""
    # ICU takes a narrow no-break space for a part of the word before it
    return iter(WordBreaker(text.encode("utf-8", "replace").decode().replace("\u202f", " "), "root"))


def sentences(text: str) -> list[str]:
    """The sentences of a text that hold a letter or a digit. "Mr." and the like end none in English."""
    found = SentenceBreaker(text.encode("utf-8", "replace").decode(), "en-u-ss-standard")
    return [each.strip() for each in found if any(map(str.isalnum, each))]


def ends_as_a_sentence(text: str) -> bool:
    """Whether a text ends in a full stop, question mark, exclamation mark or ellipsis of any script.

    Closing quotes and brackets, the marks of bold and code, emoji and white space may follow it. Thai and Lao have no
    mark for the end of a sentence: each of their letters can be one.
    """
    return _LAST.search(text) is not None


def sentence_ends(text: str) -> int:
    """The number of marks that end a sentence; a run of them (?!) counts once."""
    return len(_ENDS.findall(text))


def folded_words(text: str) -> list[str]:
    """The words of a text, case-folded and without punctuation; the text itself if it is only punctuation."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return [piece for piece in pieces(folded.translate(_SPACES)) if not piece.isspace()] or [folded]


class _PunctuationToSpace(dict[int, int]):
    def __missing__(self, point: int) -> int:
        self[point] = ord(" ") if unicodedata.category(chr(point))[0] in "PZC" else point
        return self[point]


_SPACES = _PunctuationToSpace()
