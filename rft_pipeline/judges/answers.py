"""Reading a judge's answer: its own verdict, never one that it quotes.

A reply may hold verdicts, and a judge may quote the reply, whole or in part, escaped or not. So an answer is read only
where it is certain that the judge speaks for itself; everything else raises `UnreadableError`, and the reply is
unscored.

JSON: the verdict is the last outermost object of the answer. It counts when it is the whole answer, or when it has all
the keys that were asked for and begins a line or sentence at the end of the answer. Text after it is allowed only when
the answer begins with it. Markdown fences around it do not count as text. An object does not count when it is inside
another, in a list or inside an object that cannot be parsed, has a key twice, or is copied from what the judge was
shown.

Words: the verdict is the word that the answer begins with, unquoted and followed by punctuation or nothing, unless a
later line gives another word.
"""

import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

_LABEL = r"(?:(?:my|the|final|overall)\s+)*(?:verdict|answer|grade|score|rating|better|winner|reply|output|json)"
_FENCE = r"(?:`{3,}[ \t]*\w*)"
_ALONE = re.compile(rf"(?:\A|\n|[.!?]\s)[\s*_#]*(?:{_LABEL}[\s*_]*:[\s*_]*)?(?:{_FENCE}\s*)?\Z", re.IGNORECASE)
"""What may come before an object that begins a line or a sentence."""
_NOTHING = re.compile(rf"\s*(?:{_FENCE}\s*)*\Z")
_MARKUP = r"(?:[\s*_#(\[]|-\s)*"
_QUOTES = "\"'`“”‘’«»"


class UnreadableError(ValueError):
    """The answer holds no verdict that is certainly the judge's own, or a hook found none; says why."""


class _Span(NamedTuple):
    """An outermost object of the answer; its value is None when it cannot be parsed."""

    start: int
    end: int
    value: Any


def own_object(text: str, keys: Sequence[str], shown: Sequence[str] = (), *, cut: bool = False) -> dict[str, Any]:
    """The judge's own JSON object, with the last of `keys`, which holds the verdict.

    `keys` are all that were asked for, `shown` the texts that may be quoted. `cut`: the token budget ran out before the
    answer ended. Raises `UnreadableError`.
    """
    spans = _outermost(text)
    if not spans:
        raise UnreadableError("no JSON object in it")
    start, end, value = spans[-1]
    before, after = text[:start], text[end:]
    if not isinstance(value, dict):
        raise UnreadableError("its outermost JSON object cannot be parsed")
    if keys[-1] not in value:
        raise UnreadableError(f"its last JSON object has no {keys[-1]!r}")
    begins, ends = _NOTHING.match(before), _NOTHING.match(after)
    if not (begins and ends):
        complete = all(key in value for key in keys) and not cut
        follows = begins and len(spans) == 1 and "}" not in after and after.lstrip(" \t`").startswith("\n")
        if not (complete and (follows if not ends else _ALONE.search(before))):
            raise UnreadableError("its JSON object may be a quotation: it is not alone at the end of the answer")
    if any(value == span.value for each in shown for span in _objects(each)):
        raise UnreadableError("its JSON object is copied from what the judge was shown")
    return value


def own_word(text: str, words: Sequence[str], shown: Sequence[str] = (), *, cased: bool = False) -> str:
    """The one of `words` that the answer gives as its verdict; `cased`: capitals matter. Raises `UnreadableError`."""
    answer = text.strip()
    if len(answer) > 2 and answer[0] == answer[-1] and answer[0] in _QUOTES and answer.count(answer[0]) == 2:
        answer = answer[1:-1].strip()  # nothing but the word, in quotes
    flags = re.NOFLAG if cased else re.IGNORECASE
    word = "|".join(sorted(map(re.escape, words), key=len, reverse=True))
    label = rf"(?:(?i:{_LABEL})\b{_MARKUP}(?:is\b\s*)?:?{_MARKUP})?"
    stop = r"[.,;!)\]]" if cased else r"[.,;:!)\]]"  # "A: it is kind" describes A
    ends = rf"[\s*_#)\]]*\Z|[*_]*(?:{stop}(?!\d)|\s*\n|\s+[-–—(](?!\s*\d))"
    opening = re.match(rf"{_MARKUP}{label}({word})(?:{ends})", answer, flags)
    if not opening:
        raise UnreadableError(f"it does not begin with one of {', '.join(words)}")
    own = next(each for each in words if _same(each, opening[1], cased))
    rest = answer[opening.end(1) :]
    later = re.finditer(
        rf"(?:^{_MARKUP}|(?i:{_LABEL}){_MARKUP}(?:is\b\s*:?|:){_MARKUP})({word})\W*$", rest, flags | re.M
    )
    if any(not _same(own, each[1], cased) for each in later):
        raise UnreadableError("it gives two verdicts")
    if len(answer.split()) > 1 and any(answer in each for each in shown):
        raise UnreadableError("it is copied from what the judge was shown")
    return own


def _same(one: str, other: str, cased: bool) -> bool:
    return one == other if cased else one.casefold() == other.casefold()


def _outermost(text: str) -> list[_Span]:
    """The outermost objects; one that cannot be parsed ends with its closing brace, or with the text."""
    spans, place = [], 0
    while (start := text.find("{", place)) >= 0:
        value, end = _parsed(text, start)
        if value is None:
            end = _closing(text, start)
        spans.append(_Span(start, end, value))
        place = end
    return spans


def _objects(text: str) -> list[_Span]:
    """Every object in a text, also inside others."""
    braces = (found.start() for found in re.finditer(r"\{", text))
    parsed = (_Span(start, *reversed(_parsed(text, start))) for start in braces)
    return [span for span in parsed if span.value]


def _closing(text: str, start: int) -> int:
    depth = 0
    for brace in re.finditer(r"[{}]", text[start:]):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return start + brace.end()
    return len(text)


def _parsed(text: str, start: int) -> tuple[Any, int]:
    """The object that begins at `start` and where it ends; None when there is none, or one with a key twice."""
    try:
        value, end = _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError):
        return None, start
    return value, end


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is given twice")
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_without_doubles)


def as_text(value: Any) -> str:
    """A reason as a judge gave it; empty when it is not text."""
    return value.strip() if isinstance(value, str) else ""
