"""Rules about what a reply may claim."""

import re
from typing import Literal

from rft_pipeline.rules.base import Rollout, Rule, RuleScore

_DIGITS = {
    "two": "2",
    "three": "3",
    "four": "4",
    "five": "5",
    "six": "6",
    "seven": "7",
    "eight": "8",
    "nine": "9",
    "ten": "10",
    "eleven": "11",
    "twelve": "12",
    "thirteen": "13",
    "fourteen": "14",
    "fifteen": "15",
    "sixteen": "16",
    "seventeen": "17",
    "eighteen": "18",
    "nineteen": "19",
    "twenty": "20",
    "thirty": "30",
    "forty": "40",
    "fifty": "50",
    "sixty": "60",
    "seventy": "70",
    "eighty": "80",
    "ninety": "90",
    "hundred": "100",
    "thousand": "1000",
}
_SPELLED = "|".join(_DIGITS)
_UNITS = "hours?|days?|weeks?|months?|years?|dollars?|euros?|pounds?|percent|per cent"
_CLAIMS = {
    "placeholder": re.compile(r"\[[^\]\n]{2,40}\]|<[A-Za-z][^>\n]{1,40}>|\{[^}\n]{2,40}\}"),
    "address": re.compile(r"https?://\S+|www\.\S+|\S+@\S+\.\w+|\b[\w-]+\.(?:com|org|net|co\.uk)\b", re.IGNORECASE),
    "number": re.compile(r"\d[\d.,:/-]*"),
    "amount in words": re.compile(rf"\b(?:{_SPELLED})(?:[ -](?:{_SPELLED}))*[ -](?:{_UNITS})\b", re.IGNORECASE),
}


class NoInventedFacts(Rule):
    """The reply states no number, amount, address or link that the prompt does not contain, and leaves no placeholder.

    A support reply that makes up a refund amount, a deadline or a phone number costs money; one that leaves
    "[Customer name]" is not a reply. A number in the prompt may be written in digits or in words.
    """

    READS = ()

    name: Literal["no_invented_facts"] = "no_invented_facts"
    version: int = 4

    def __call__(self, rollout: Rollout) -> RuleScore:
        known = in_digits(rollout.given)
        for kind, pattern in _CLAIMS.items():
            for found in pattern.findall(rollout.completion):
                claim = re.escape(in_digits(found.rstrip(".,:/-")))
                if kind == "placeholder" or not re.search(rf"(?<!\d){claim}(?!\d)", known):
                    return RuleScore(0.0, f"{kind} {found!r} is not in the prompt")
        return RuleScore(1.0, "nothing invented")


def in_digits(text: str) -> str:
    """The text in one case, with its spelled English numbers in digits."""
    return re.sub(rf"\b(?:{_SPELLED})\b", lambda word: _DIGITS[word.group()], text.casefold())
