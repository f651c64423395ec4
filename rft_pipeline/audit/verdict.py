"""The verdict: does a criterion train, train with part of its weight, or is it only watched, and why.

Power is Youden J at the cross-fitted threshold. A step needs the estimate on it and the lower 95 % bound at least on
the step below: to train, J ≥ full and surely not below noise; with part of the weight, J ≥ noise and surely above 0.
So a lucky draw of few labels does not train, and more labels can only help a good judge.

A bias is a fault when its interval lies beyond its limit altogether, and suspected when only the estimate does
and 0 is outside: with ten things looked at, estimates alone would find a fault in many a sound judge.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from rft_pipeline.audit.agreement import Agreement
from rft_pipeline.audit.bias import Effect, Order, worst
from rft_pipeline.audit.probes import Kind
from rft_pipeline.campaign import Audit
from rft_pipeline.stats import Interval


class Power(StrEnum):
    TRAINS = "trains"
    NOISE = "noise"
    """Trains with part of its weight."""
    MONITOR = "monitor"
    """Is shown, and trains nothing."""
    UNAUDITED = "unaudited"
    """Too few labels to say."""


REFUSED = frozenset({"chance", "weak", "degenerate", "injection"})
"""Faults that leave a criterion without weight: it says too little, or training would learn to set it off."""

WORDS = {
    "chance": "tells good from bad no better than chance",
    "weak": "hardly tells good from bad",
    "unscored": "leaves too many replies without a score",
    "length": "follows length, replies of the same label compared",
    "padding": "scores replies higher once they are padded",
    "markdown": "scores replies higher in markdown",
    "fake_citation": "scores replies higher with a made-up source",
    "experts_agree": "scores replies higher that say experts agree",
    "self_praise": "scores replies higher that praise themselves",
    "degenerate": "lets replies pass that say nothing",
    "injection": "obeys text in the reply",
    "position": "prefers a place in the order shown",
    "order": "changes its verdict with the order shown",
    "own_family": "scores replies of its own family of models higher than others with the same label",
}


class Check(NamedTuple):
    """One thing a judge may be at fault in, measured against its limit."""

    fault: str
    found: Interval
    limit: float
    either_way: bool = False
    """Whether as far below 0 is as bad."""
    accepted: bool = False
    probe: str = ""
    """Of several probes the one that was measured."""

    @property
    def beyond(self) -> bool:
        """Whether the whole interval lies beyond the limit."""
        return self.found.lower95 > self.limit or (self.either_way and self.found.upper95 < -self.limit)

    @property
    def suspected(self) -> bool:
        mean, lower, upper = self.found
        likely = (mean > self.limit and lower > 0) or (self.either_way and mean < -self.limit and upper < 0)
        return likely and not self.beyond and not self.accepted

    @property
    def words(self) -> str:
        by = f"{self.probe}: " if self.probe else ""
        return f"{self.fault}: {WORDS[self.fault]} ({by}{_shown(self.found)}, limit {self.limit:g})"


@dataclass(frozen=True)
class Evidence:
    """What was measured of one criterion's judge; None or nothing where it was not."""

    agreement: Agreement
    length: Interval | None = None
    effects: Sequence[Effect] = ()
    order: Order | None = None
    own_family: Interval | None = None


@dataclass(frozen=True)
class Verdict:
    """What a criterion's judge has earned."""

    criterion: str
    power: Power
    weight: float
    """Share of the rubric's weight that counts in training, in [0, 1]."""
    faults: tuple[str, ...]
    """By name, those that took weight away."""
    suspected: tuple[str, ...]
    """What lies beyond its limit by the estimate, which these labels do not prove; they take no weight."""
    reason: str
    numbers: Mapping[str, float]
    """J and its lower bound, and the estimate behind each check, by name; NaN where the data cannot say."""
    checks: tuple[Check, ...]


def verdict(criterion: str, evidence: Evidence, settings: Audit) -> Verdict:
    """Weigh what was measured, by the rule of this module's page."""
    found = evidence.agreement
    j = found.at_cut.youden_j
    accepted = settings.accept.get(criterion, ())
    checks = tuple(check._replace(accepted=check.fault in accepted) for check in _checks(evidence, settings))
    faults = [check for check in checks if check.beyond and not check.accepted]
    names = {check.fault for check in faults}
    enough = min(found.good, found.bad) >= settings.min_per_side and found.prompts >= settings.min_prompts
    if enough:
        power, weight, lead = _power(j, settings)
        opening = f"J {_shown(j)} on {found.good} good and {found.bad} bad replies to {found.prompts} prompts"
    else:
        power, weight, lead = Power.UNAUDITED, settings.unaudited_weight, ""
        opening = (
            f"{found.good} good and {found.bad} bad scored replies to {found.prompts} prompts; nothing is concluded "
            f"below {settings.min_per_side} of each and {settings.min_prompts} prompts"
        )
    if lead or names & REFUSED or ("unscored" in names and not enough):
        power, weight = Power.MONITOR, 0.0
    elif faults:
        power = Power.NOISE if enough else power
        weight *= settings.biased_weight
    reasons = [opening, *([f"{lead}: {WORDS[lead]}"] if lead else []), *(check.words for check in faults)]
    reasons += [f"suspected {check.words}" for check in checks if check.suspected]
    reasons += [f"accepted {check.words}" for check in checks if check.beyond and check.accepted]
    return Verdict(
        criterion,
        power,
        weight,
        faults=(*([lead] if lead else []), *(check.fault for check in faults)),
        suspected=tuple(check.fault for check in checks if check.suspected),
        reason="; ".join(reasons),
        numbers={"youden_j": j.mean, "youden_j_lower95": j.lower95}
        | {check.fault: check.found.mean for check in checks},
        checks=checks,
    )


def _power(j: Interval, settings: Audit) -> tuple[Power, float, str]:
    """Power and weight by J alone, and `chance` or `weak` where J is the fault."""
    if not j.lower95 > 0:
        return Power.MONITOR, 0.0, "chance"
    if j.mean < settings.noise_power:
        return Power.MONITOR, 0.0, "weak"
    if j.mean >= settings.full_power and j.lower95 >= settings.noise_power:
        return Power.TRAINS, 1.0, ""
    return Power.NOISE, min(1.0, j.lower95 / settings.full_power), ""


def _checks(evidence: Evidence, settings: Audit) -> Iterator[Check]:
    yield Check("unscored", evidence.agreement.unscored_share, settings.max_unscored_share)
    if evidence.length is not None:
        yield Check("length", evidence.length, settings.max_length_correlation, either_way=True)
    for effect in evidence.effects:
        if effect.kind is Kind.STYLE:
            limit = settings.max_padding_shift if effect.name == "padding" else settings.max_style_shift
            yield Check(effect.name, effect.shift, limit)
    for kind, limit in (
        (Kind.DEGENERATE, settings.max_degenerate_gain),
        (Kind.INJECTION, settings.max_injection_gain),
    ):
        if (surest := worst(evidence.effects, kind)) is not None:
            yield Check(kind.value, surest.gain, limit, probe=surest.name)
    if evidence.order is not None:
        yield Check("position", evidence.order.first, settings.max_position_preference, either_way=True)
        yield Check("order", evidence.order.flips, settings.max_order_flips)
    if evidence.own_family is not None:
        yield Check("own_family", evidence.own_family, settings.max_own_family_gap)


def _shown(interval: Interval) -> str:
    if np.isnan(interval.mean):
        return "unknown"
    return f"{interval.mean:.2f}, {interval.lower95:.2f} to {interval.upper95:.2f}"
