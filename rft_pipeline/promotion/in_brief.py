"""Why no round was promoted, in a few words."""

from collections.abc import Mapping
from typing import Any

from rft_pipeline.promotion.decide import ALARMS, HELD_OUT, PEOPLE, PROMPTS, REWARD

IN_BRIEF = {
    ALARMS: "the alarms stopped it",
    PEOPLE: "people prefer the champion",
    PROMPTS: "too few scored held-out prompts",
    HELD_OUT: "score of the alarms' judge may be worse",
    REWARD: "reward not surely better",
}
"""Failed bound → why a round was not promoted, in a few words; the gravest first."""


def in_brief(decided: Mapping[str, Any]) -> str:
    """Why no round was promoted, in a few words, of the round that came nearest; `decided` is a decision as JSON."""
    rounds = decided["rounds"]
    if not rounds:
        return "same weights as the champion"
    nearest = max(rounds, key=lambda each: (-sum(not bound["passed"] for bound in each["bounds"]), each["round"]))
    failed = [bound["name"] for bound in nearest["bounds"] if not bound["passed"]]
    said = [why for name, why in IN_BRIEF.items() if name in failed]
    said += [f"{name} may be worse" for name in failed if name not in IN_BRIEF]
    return ", ".join(said) or "it passed every bound"
