"""Redacts personal data in training prompts: e-mail addresses, phone and card numbers, and what a user's code finds.

Phone numbers are found by `phonenumbers` (Google's library). It knows the numbering plan of every country, so prices
and most order numbers stay, and local spellings are found. Dates, decimal fractions, versions and ISBNs are masked
first, because many are valid numbers somewhere. Cards are recognised by length, printed groups and check digit.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from typing import Any

from rft_pipeline.campaign import InteractionLogs, PersonalData
from rft_pipeline.errors import ConfigError
from rft_pipeline.user_code import Code

Finder = Callable[[str], list[tuple[int, int]]]
"""Text → (begin, end) of each piece of personal data, without overlaps."""

_MARKS = "".join(chr(point) for point in range(0x10000) if unicodedata.category(chr(point))[0] == "M")
"""Characters that belong to the letter before them: accents, vowel signs."""
_DOT = r"(?:\.|%2[Ee])"
_LABEL = rf"[^\W_](?:[\w{_MARKS}-]*(?:[^\W_]|[{_MARKS}]))?"
_DOMAIN = rf"(?:{_LABEL}{_DOT})+(?:xn--[\w-]*[^\W_]|(?:[^\W\d_][{_MARKS}]*){{2,}})"
_LOCAL = rf"\w{_MARKS}.%+'/!#$*^`{{}}~-"
_EMAIL = re.compile(rf"(?<![{_LOCAL}])[.'/!#*^`{{}}~]*+([{_LOCAL}]++[@＠]{_DOMAIN})")
_EMAIL_IN_URL = re.compile(rf"(?<![\w.+%'-])((?:[\w.+'-]|%(?!40)[0-9A-Fa-f]{{2}})++%40{_DOMAIN})")

_SPACE = r"[\s_\u00ad\u200b-\u200d\u2060\ufeff]{0,4}"
_BETWEEN = rf"{_SPACE}[-\u2010-\u2015\u2212/.,]?{_SPACE}"
_PRINTED = ((4, 4, 4, 4, 3), (4, 4, 4, 4), (4, 6, 5), (4, 6, 4))
"""Sizes of the printed groups of card numbers."""
_CARDS = [
    re.compile(rf"(?<!\d)(?<!\d\.)(?=({digits})(?!\d))")
    for digits in (*(_BETWEEN.join(rf"\d{{{count}}}" for count in groups) for groups in _PRINTED), r"\d{13,19}")
]
_LIST = re.compile(r"(?<!\d)\d{4}([\s,;]{1,2})\d{4}(?:\1\d{4}){7,}(?!\d)")
"""Nine or more groups of four digits: a list of numbers, not cards."""
_CLOCK = r"(?:,?\s+\d{1,2}[:.]\d\d(?:[:.]\d\d)?)?"
_DAY, _MONTH, _YEAR = r"(?:0?[1-9]|[12]\d|3[01])", r"(?:0?[1-9]|1[0-2])", r"(?:19|20)\d\d"
_DATES = rf"(?:{_DAY}([./-]){_MONTH}\1{_YEAR}|{_MONTH}/{_DAY}/{_YEAR}|{_YEAR}([./-]){_MONTH}\2{_DAY}){_CLOCK}(?!\.?\d)"
_NO_PHONE = re.compile(
    rf"(?<!\d)(?<!\d[./-])(?:{_DATES}|\d{{1,2}}\.\d{{5,}}|\d+\.\d{{11,}})"
    r"|\bISBN(?:-1[03])?:?\s*\d[\d -]{8,15}[\dX]\b"
    r"|\b(?:v|ver|version)\.?\s*\d+(?:\.\d+)+",
    re.IGNORECASE,
)
_NORTH_AMERICAN = re.compile(r"(?<!\d)\d{3}([ .-])\d{3}\1\d{4}(?!\d)")
"""Two of these in a row would be read as one number of another country."""
_PHONE_DIGITS = 6
"""Minimum number of digits of a phone number."""


@dataclass(frozen=True)
class Redactor:
    """Replaces personal data in texts."""

    finders: dict[PersonalData, Finder]
    """Applied in this order: parts of card numbers look like phone numbers."""
    own: Code | None = None
    """The user's function, text → text, applied first."""
    where: str = "schedule.retrain"
    """The key of the settings, for messages."""

    @classmethod
    def of(cls, logs: InteractionLogs, where: str = "schedule.retrain") -> "Redactor":
        """A redactor with these settings, whose key is `where`. Raises `ConfigError` for an unknown region."""
        phone = phones(logs.phone_regions, where)
        finders: dict[PersonalData, Finder] = {"email": emails, "card": cards, "phone": phone}
        wanted = {name: find for name, find in finders.items() if name in logs.redact}
        return cls(wanted, logs.redact_with, where)

    def clean(self, value: Any, found: Counter[str]) -> Any:
        """Plain data with all texts redacted, and whole numbers that are personal data; keys stay.

        `found` counts the replacements, and the texts that the user's function changed. Raises `ConfigError` if that
        function fails or returns no text.
        """
        match value:
            case str():
                return self._text(value, found)
            case bool():
                return value
            case int() | float() if value == value // 1:
                text = self._text(str(int(value)), found)
                return value if text == str(int(value)) else text
            case dict():
                return {key: self.clean(item, found) for key, item in value.items()}
            case list():
                return [self.clean(item, found) for item in value]
            case _:
                return value

    def _text(self, text: str, found: Counter[str]) -> str:
        if self.own is not None:
            changed = _call(self.own, text, self.where)
            found[self.own.path] += changed != text
            text = changed
        for name, find in self.finders.items():
            spans = find(text)
            found[name] += len(spans)
            for begin, end in reversed(spans):
                text = f"{text[:begin]}<{name}>{text[end:]}"
        return text


def emails(text: str) -> list[tuple[int, int]]:
    """The places of e-mail addresses, also within URLs."""
    return _joined([match.span(1) for pattern in (_EMAIL, _EMAIL_IN_URL) for match in pattern.finditer(text)])


def cards(text: str) -> list[tuple[int, int]]:
    """The places of payment card numbers, in one piece or in printed groups: numbers of a brand's length that pass the
    check of Luhn (1960). Digits next to them, e.g. an expiry date, are not part of the number."""
    text = _LIST.sub(lambda match: "|" * len(match.group()), text)
    found = [match.span(1) for pattern in _CARDS for match in pattern.finditer(text) if _is_card(match.group(1))]
    return _joined(found)


def phones(regions: Sequence[str], where: str = "schedule.retrain") -> Finder:
    """A finder of numbers with a country prefix, and of numbers without one that are valid in one of the regions.

    Raises `ConfigError` for an unknown region.
    """
    import phonenumbers

    if unknown := sorted(set(regions) - set(phonenumbers.SUPPORTED_REGIONS)):
        raise ConfigError(f"{where}.phone_regions: {', '.join(unknown)} is not a region; use ISO codes like US, GB, DE")

    def find(text: str) -> list[tuple[int, int]]:
        if sum(map(str.isdigit, text)) < _PHONE_DIGITS:
            return []
        masked = _NO_PHONE.sub(lambda match: "|" * len(match.group()), text)
        side_by_side = [match.span() for match in _NORTH_AMERICAN.finditer(masked) if is_valid(match.group())]
        broken = [span for span in within(masked.replace("\n", " ")) if _broken(text, *span)]
        return _joined([*within(masked), *side_by_side, *broken])

    def is_valid(number: str) -> bool:
        return "US" in regions and phonenumbers.is_valid_number(phonenumbers.parse(number, "US"))

    def within(text: str) -> list[tuple[int, int]]:
        return [
            (match.start, match.end)
            for region in regions or (None,)
            for match in phonenumbers.PhoneNumberMatcher(text, region, leniency=phonenumbers.Leniency.VALID)
        ]

    return find


def _joined(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Spans with overlapping ones merged."""
    joined: list[tuple[int, int]] = []
    for begin, end in sorted(spans):
        if joined and begin < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((begin, end))
    return joined


def _broken(text: str, begin: int, end: int) -> bool:
    """Whether a number contains one line break and is written like a phone number; lists of numbers are not."""
    return text.count("\n", begin, end) == 1 and any(sign in text[begin:end] for sign in "+(-")


def _is_card(text: str) -> bool:
    digits = [int(each) for each in text if each.isdecimal()]
    if len(digits) not in _lengths("".join(map(str, digits[:4]))):
        return False
    doubled = (digit * (1 + place % 2) for place, digit in enumerate(reversed(digits)))
    return sum(each // 10 + each % 10 for each in doubled) % 10 == 0


def _lengths(first: str) -> Container[int]:
    """The possible lengths of a card number that begins with `first` (ISO/IEC 7812): American Express and Diners, Visa,
    Mastercard, Maestro and Discover."""
    match first[0]:
        case "3":
            return range(14, 17)
        case "4":
            return (13, 16, 19)
        case "6":
            return range(16, 20)
        case _:
            return (16,) if first[0] == "5" or "2221" <= first <= "2720" else ()


def _call(own: Code, text: str, where: str) -> str:
    function = own.load()
    try:
        changed = function(text)
    except Exception as error:  # whatever the user's code raises
        raise ConfigError(f"{where}.redact_with: {own.path} raised {type(error).__name__}: {error}") from error
    if not isinstance(changed, str):
        raise ConfigError(
            f"{where}.redact_with: {own.path} must return the redacted text, returned {type(changed).__name__}"
        )
    return changed
