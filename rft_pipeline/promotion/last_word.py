"""People's last word on a round: what blind pairs of the round and the champion mean for its promotion.

Enough decided pairs refuse a round if the 95 % interval of its share is below 50 %, and confirm it if the interval is
above 50 % and the sign test is significant at the level of the decision. Otherwise they decide nothing.
"""

from dataclasses import dataclass
from enum import StrEnum

from rft_pipeline.labels.preferences import Preference


class Consequence(StrEnum):
    """What people's preference decides."""

    CONFIRMS = "confirms"
    """A narrowly missed bound of the reward or the alarms' judge does not refuse the round."""
    REFUSES = "refuses"
    """The round is not promoted, whatever the judges say."""
    OPEN = "open"


@dataclass(frozen=True)
class LastWord:
    """What people prefer, and what follows for the promotion."""

    consequence: Consequence
    said: str


def last_word(preference: Preference, least: int, level: float) -> LastWord:
    """The consequence of people's preference for a round over the champion.

    `least` is the minimum number of decided pairs, `level` the probability with which a confirmation may be wrong.
    """
    consequence, why = _consequence(preference, least, level)
    return LastWord(consequence, f"{preference.said}: {why}")


def _consequence(found: Preference, least: int, level: float) -> tuple[Consequence, str]:
    if found.decided < least:
        few = f"promotion.min_decided_pairs needs {least} decided pairs, {least - found.decided} more"
        return Consequence.OPEN, f"{few}, so this does not count yet"
    if found.share.upper95 < 0.5:
        return Consequence.REFUSES, "the whole interval is below 50 %, so the round is refused, whatever the judges say"
    if found.share.lower95 <= 0.5:
        return Consequence.OPEN, "the interval contains 50 %, so this does not decide"
    if found.p > 2 * level:  # the sign test's p is of both directions
        needed = f"the sign test's p is {found.p:.2g}, and this decision needs at most {2 * level:.2g}"
        return Consequence.OPEN, f"{needed}, so this does not decide"
    return Consequence.CONFIRMS, "the whole interval is above 50 %, which confirms the round"
