"""Rules about what a reply may claim."""

import re
from typing import Literal

from rft_pipeline.rules.base import Rollout, Rule, Verdict

_SPELLED = (
    "two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|fourteen|fifteen|twenty|thirty|sixty|ninety|hundred"
)
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
    "[Customer name]" was never a reply.
    """

    name: Literal["no_invented_facts"] = "no_invented_facts"

    def __call__(self, rollout: Rollout) -> Verdict:
        known = rollout.prompt.casefold()
        for kind, pattern in _CLAIMS.items():
            for found in pattern.findall(rollout.completion):
                claim = found.rstrip(".,:/-").casefold()
                if kind == "placeholder" or claim not in known:
                    return Verdict(0.0, f"{kind} {found!r} is not in the prompt")
        return Verdict(1.0, "nothing invented")
