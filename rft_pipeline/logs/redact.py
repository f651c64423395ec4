"""Personal data in what is trained on: e-mail addresses, phone and card numbers, and what a user's own code finds.

Phone numbers are told by `phonenumbers` (the library behind Android's): it knows every country's numbering plan, so
that dates, prices and most order numbers stay, where a regular expression takes them or misses local spellings.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rft_pipeline.campaign import PersonalData, Retrain
from rft_pipeline.errors import ConfigError
from rft_pipeline.imports import Code

Finder = Callable[[str], list[tuple[int, int]]]
"""Text → where it holds personal data: begin and end of each, none within another."""

_DOMAIN = r"(?:[^\W_](?:[\w-]*[^\W_])?\.)+[^\W\d_]{2,}"
_EMAIL = re.compile(rf"(?<![\w.%+'-])[\w.%+'-]++[@＠]{_DOMAIN}")
_EMAIL_IN_URL = re.compile(rf"(?<![\w.+'-])[\w.+'-]++%40{_DOMAIN}")
_DIGIT_GROUPS = re.compile(r"\d+(?:(?:[^\S\n]|[._\u2010-\u2015-]){1,2}\d+)*")
_CARD_DIGITS = range(13, 20)
_CARD_BEGINS = range(2, 7)
"""What the numbers of payment cards begin with (ISO/IEC 7812)."""
_PHONE_DIGITS = 6
"""No phone number has fewer."""


@dataclass(frozen=True)
class Redactor:
    """Replaces personal data in texts."""

    finders: dict[PersonalData, Finder]
    """Applied in this order: a card number holds what looks like a phone number."""
    own: Code | None = None
    """The user's function, text → text, applied first."""

    @classmethod
    def of(cls, retrain: Retrain) -> "Redactor":
        """As the settings have it. Raises `ConfigError` for a region nobody knows."""
        finders: dict[PersonalData, Finder] = {"email": emails, "card": cards, "phone": phones(retrain.phone_regions)}
        wanted = {name: find for name, find in finders.items() if name in retrain.redact}
        return cls(wanted, retrain.redact_with)

    def clean(self, value: Any, found: Counter[str]) -> Any:
        """Plain data with all its texts redacted, whole numbers that are personal data too; keys stay.

        What was replaced is counted in `found`, for the user's function the texts it changed. Raises `ConfigError` when
        that function fails or returns no text.
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
            changed = _call(self.own, text)
            found[self.own.path] += changed != text
            text = changed
        for name, find in self.finders.items():
            spans = find(text)
            found[name] += len(spans)
            for begin, end in reversed(spans):
                text = f"{text[:begin]}<{name}>{text[end:]}"
        return text


def emails(text: str) -> list[tuple[int, int]]:
    """Where e-mail addresses stand, also as part of a URL."""
    return _joined([match.span() for pattern in (_EMAIL, _EMAIL_IN_URL) for match in pattern.finditer(text)])


def cards(text: str) -> list[tuple[int, int]]:
    """Where 13 to 19 digits stand, in one piece or grouped, that begin as cards do and pass the check of Luhn (1960).

    Digits beside them, e.g. an expiry date, are no part of the number.
    """
    found = []
    for run in _DIGIT_GROUPS.finditer(text):
        groups = [(group.start(), group.end()) for group in re.finditer(r"\d+", text[run.start() : run.end()])]
        first = 0
        while first < len(groups):
            for last in range(min(len(groups), first + max(_CARD_DIGITS)) - 1, first - 1, -1):
                begin, end = run.start() + groups[first][0], run.start() + groups[last][1]
                if _is_card([int(each) for each in text[begin:end] if each.isdecimal()]):
                    found.append((begin, end))
                    first = last
                    break
            first += 1
    return found


def phones(regions: Sequence[str]) -> Finder:
    """Finds numbers with their country's prefix, and those that are valid in one of the regions without it.

    Raises `ConfigError` for a region nobody knows.
    """
    import phonenumbers

    if unknown := sorted(set(regions) - set(phonenumbers.SUPPORTED_REGIONS)):
        raise ConfigError(
            f"schedule.retrain.phone_regions: {', '.join(unknown)} is no region; use ISO codes like US, GB, DE"
        )

    def find(text: str) -> list[tuple[int, int]]:
        if sum(map(str.isdigit, text)) < _PHONE_DIGITS:
            return []
        spans = [
            (match.start, match.end)
            for region in regions or (None,)
            for match in phonenumbers.PhoneNumberMatcher(text, region, leniency=phonenumbers.Leniency.VALID)
        ]
        return _joined(spans)

    return find


def _joined(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Spans that overlap as one."""
    joined: list[tuple[int, int]] = []
    for begin, end in sorted(spans):
        if joined and begin < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((begin, end))
    return joined


def _is_card(digits: Sequence[int]) -> bool:
    if len(digits) not in _CARD_DIGITS or digits[0] not in _CARD_BEGINS:
        return False
    doubled = (digit * (1 + place % 2) for place, digit in enumerate(reversed(digits)))
    return sum(each // 10 + each % 10 for each in doubled) % 10 == 0


def _call(own: Code, text: str) -> str:
    function = own.load()
    try:
        changed = function(text)
    except Exception as error:  # whatever the user's code raises
        raise ConfigError(f"schedule.retrain.redact_with: {own.path} raised {type(error).__name__}: {error}") from error
    if not isinstance(changed, str):
        raise ConfigError(
            f"schedule.retrain.redact_with: {own.path} must return the redacted text, returned {type(changed).__name__}"
        )
    return changed
