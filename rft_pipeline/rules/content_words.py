"""Content words and numbers of a text, by which rules compare what two texts say."""

import re
from functools import cache, lru_cache
from typing import Annotated

from pydantic import AfterValidator

from rft_pipeline.rules.facts import in_digits
from rft_pipeline.rules.words import words

LANGUAGES = {
    "ar": "arabic",
    "ca": "catalan",
    "cs": "czech",
    "da": "danish",
    "de": "german",
    "el": "greek",
    "en": "english",
    "eo": "esperanto",
    "es": "spanish",
    "et": "estonian",
    "eu": "basque",
    "fa": "persian",
    "fi": "finnish",
    "fr": "french",
    "ga": "irish",
    "hi": "hindi",
    "hu": "hungarian",
    "hy": "armenian",
    "id": "indonesian",
    "it": "italian",
    "lt": "lithuanian",
    "nl": "dutch",
    "no": "norwegian",
    "pl": "polish",
    "pt": "portuguese",
    "ro": "romanian",
    "ru": "russian",
    "st": "sesotho",
    "sv": "swedish",
    "tr": "turkish",
}
"""ISO 639-1 code → Snowball stemmer, for the languages that have both a stemmer and stop words."""
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_JOINT = re.compile(r"(?<=\w)[-‐‑](?=\w)|(?<=\d)(?=[^\W\d_])")
_NUMBER = re.compile(r"(?<!\w)\d+(?:[.,:/]\d+)*")
_SOURCES = frozenset(
    {
        "passage",
        "context",
        "manual",
        "source",
        "document",
        "handbook",
        "guide",
        "excerpt",
        "mention",
        "mentions",
        "mentioned",
        "passages",
        "documents",
        "sources",
    }
)
"""Words by which an English reply names where it has something from; they say nothing about the matter."""


def _is_known(value: str) -> str:
    if value not in LANGUAGES:
        raise ValueError(f"no stemmer and stop words for it; allowed (ISO 639-1): {', '.join(LANGUAGES)}")
    return value


LanguageCode = Annotated[str, AfterValidator(_is_known)]
"""A key of `LANGUAGES`."""


def plain_words(text: str) -> list[str]:
    """The words of a text in one case, with straight apostrophes."""
    return [word.casefold().replace("’", "'") for word in words(text)]


@cache
def stop_words(language: str) -> frozenset[str]:
    """The stop words of stopwords-iso, a long list."""
    from stopwordsiso import stopwords

    return frozenset(word.casefold().replace("’", "'") for word in stopwords(language))


@lru_cache(maxsize=4096)
def content_of(text: str, language: str) -> frozenset[str]:
    """The stems of the content words of a text and its numbers, in digits.

    A content word is any word but the stop words of `language` and, in English, the names of sources ("passage").
    """
    left_out = stop_words(language) | (_SOURCES if language == "en" else frozenset())
    return frozenset(stem for _, stem in stemmed(text, language, left_out))


def stemmed(text: str, language: str, left_out: frozenset[str] = frozenset()) -> list[tuple[str, str]]:
    """The words of a text but those `left_out`, with their stems, then its numbers, in digits (in English also those
    that are spelled)."""
    from snowballstemmer import stemmer

    stem, text = stemmer(LANGUAGES[language]).stemWord, _JOINT.sub(" ", in_digits(_THOUSANDS.sub("", text)))
    plain = [word for word in plain_words(text) if word not in left_out and not _NUMBER.match(word)]
    return [(word, stem(word)) for word in plain] + [(number, number) for number in _NUMBER.findall(text)]


def numbers_of(content: frozenset[str]) -> frozenset[str]:
    """The numbers among the content of a text."""
    return frozenset(each for each in content if each[0].isdigit())
