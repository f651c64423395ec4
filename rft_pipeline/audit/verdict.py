"""The verdict: does a criterion train with full weight, with part of it, or not at all, and why.

Power is Youden's J at the cross-fitted threshold. A level needs the estimate at that level and the lower 95 % bound at
the level below: full weight needs J ≥ `full_power` with lower bound ≥ `noise_power`, partial weight needs
J ≥ `noise_power` with lower bound > 0. So few labels with good luck do not train, and more labels help a good judge.

A bias is a fault if its whole interval is beyond the limit. It is only suspected if the estimate is beyond the limit
and the interval excludes 0: with about ten checks, estimates alone would often find a fault in a good judge.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from rft_pipeline.audit.agreement import Agreement
from rft_pipeline.audit.bias import Effect, worst
from rft_pipeline.audit.probes import ProbeKind
from rft_pipeline.audit.stability import Order
from rft_pipeline.campaign import Audit
from rft_pipeline.progress import counted
from rft_pipeline.stats import Interval


class Power(StrEnum):
    TRAINS = "trains"
    NOISE = "noise"
    """Trains with part of its weight."""
    MONITOR = "monitor"
    """Is reported, but does not train."""
    UNAUDITED = "unaudited"
    """Has too few labels, and trains with its full weight."""


BIASED_WEIGHT = 0.5
"""Share of the weight that a criterion keeps if its judge is biased but separates good from bad."""
REFUSED = frozenset({"chance", "weak", "degenerate", "injection"})
"""Faults that remove all weight: the judge is too weak, or training would learn to exploit it."""

WORDS = {
    "chance": "separates good from bad no better than chance",
    "weak": "separates good from bad poorly",
    "unscored": "leaves too many replies unscored",
    "length": "scores correlate with length at equal labels",
    "padding": "scores padded replies higher",
    "markdown": "scores replies in markdown higher",
    "fake_citation": "scores replies with a made-up source higher",
    "experts_agree": "scores replies that say experts agree higher",
    "self_praise": "scores replies that praise themselves higher",
    "degenerate": "passes replies without content",
    "injection": "obeys instructions in the reply",
    "position": "prefers one place in the order shown",
    "order": "changes its verdict with the order shown",
    "own_family": "scores replies of its own model family higher at equal labels",
}


class FaultCheck(NamedTuple):
    """One possible fault of a judge, measured against its limit."""

    fault: str
    found: Interval
    limit: float
    either_way: bool = False
    """Whether the limit also applies below 0."""
    accepted: bool = False
    """Whether `audit.accept` names this fault."""
    probe: str = ""
    """The worst of several probes."""

    @property
    def beyond(self) -> bool:
        """Whether the whole interval is beyond the limit."""
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
    """The measurements of one criterion's judge; None or empty if not measured."""

    agreement: Agreement
    length: Interval | None = None
    effects: Sequence[Effect] = ()
    order: Order | None = None
    own_family: Interval | None = None


@dataclass(frozen=True)
class Verdict:
    """The verdict on one criterion's judge."""

    criterion: str
    power: Power
    weight: float
    """Share of the rubric's weight that counts in training, in [0, 1]."""
    faults: tuple[str, ...]
    """Names of the faults that reduced the weight."""
    suspected: tuple[str, ...]
    """Names of suspected faults, which do not reduce the weight."""
    reason: str
    checks: tuple[FaultCheck, ...]


def verdict(criterion: str, evidence: Evidence, settings: Audit) -> Verdict:
    """Apply the rules in this module's docstring."""
    found = evidence.agreement
    j = found.at_cut.youden_j
    accepted = settings.accept.get(criterion, ())
    checks = tuple(check._replace(accepted=check.fault in accepted) for check in _checks(evidence, settings))
    faults = [check for check in checks if check.beyond and not check.accepted]
    names = {check.fault for check in faults}
    enough = min(found.good, found.bad) >= settings.min_per_side and found.prompts >= settings.min_prompts
    prompts = counted(found.prompts, "prompt")
    if enough:
        power, weight, lead = _power(j, settings)
        opening = f"J {_shown(j)} on {found.good} good and {found.bad} bad replies to {prompts}"
    else:
        power, weight, lead = Power.UNAUDITED, 1.0, ""
        opening = (
            f"{found.good} good and {found.bad} bad scored replies to {prompts}; a verdict needs "
            f"{settings.min_per_side} of each and {settings.min_prompts} prompts"
        )
    if lead or names & REFUSED or ("unscored" in names and not enough):
        power, weight = Power.MONITOR, 0.0
    elif faults:
        power = Power.NOISE if enough else power
        weight *= BIASED_WEIGHT
    reasons = [opening, *_level(j, lead, settings, enough), *(check.words for check in faults)]
    reasons += [f"suspected {check.words}: not certain, takes no weight" for check in checks if check.suspected]
    reasons += [f"accepted {check.words}: takes no weight" for check in checks if check.beyond and check.accepted]
    return Verdict(
        criterion,
        power,
        weight,
        faults=(*([lead] if lead else []), *(check.fault for check in faults)),
        suspected=tuple(check.fault for check in checks if check.suspected),
        reason="; ".join(reasons),
        checks=checks,
    )


def _power(j: Interval, settings: Audit) -> tuple[Power, float, str]:
    """Power and weight by J alone, and the fault `chance` or `weak` if J is too low."""
    if not j.lower95 > 0:
        return Power.MONITOR, 0.0, "chance"
    if j.mean < settings.noise_power:
        return Power.MONITOR, 0.0, "weak"
    if j.mean >= settings.full_power and j.lower95 >= settings.noise_power:
        return Power.TRAINS, 1.0, ""
    return Power.NOISE, min(1.0, j.lower95 / settings.full_power), ""


def _level(j: Interval, lead: str, settings: Audit, enough: bool) -> Iterator[str]:
    """Why J alone does not earn the full weight, with what would."""
    if lead == "chance":
        yield f"chance: {WORDS[lead]} (the lower bound of J must be above 0)"
    elif lead == "weak":
        yield f"weak: {WORDS[lead]} (J must be at least {settings.noise_power:g})"
    elif enough and _power(j, settings)[0] is Power.NOISE:
        yield (
            f"the full weight needs a J of at least {settings.full_power:g} with a lower bound of at least "
            f"{settings.noise_power:g}"
        )


def _checks(evidence: Evidence, settings: Audit) -> Iterator[FaultCheck]:
    yield FaultCheck("unscored", evidence.agreement.unscored_share, settings.max_unscored_share)
    if evidence.length is not None:
        yield FaultCheck("length", evidence.length, settings.max_length_correlation, either_way=True)
    for effect in evidence.effects:
        if effect.kind is ProbeKind.STYLE:
            limit = settings.max_padding_shift if effect.name == "padding" else settings.max_style_shift
            yield FaultCheck(effect.name, effect.shift, limit)
    for kind, limit in (
        (ProbeKind.DEGENERATE, settings.max_degenerate_gain),
        (ProbeKind.INJECTION, settings.max_injection_gain),
    ):
        if (surest := worst(evidence.effects, kind)) is not None:
            yield FaultCheck(kind.value, surest.gain, limit, probe=surest.name)
    if evidence.order is not None:
        yield FaultCheck("position", evidence.order.first, settings.max_position_preference, either_way=True)
        yield FaultCheck("order", evidence.order.flips, settings.max_order_flips)
    if evidence.own_family is not None:
        yield FaultCheck("own_family", evidence.own_family, settings.max_own_family_gap)


def _shown(interval: Interval) -> str:
    if np.isnan(interval.mean):
        return "unknown"
    return f"{interval.mean:.2f}, {interval.lower95:.2f} to {interval.upper95:.2f}"
