"""Which stages have to run: every node's payload is compared with the record in force."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from rft_pipeline.campaign import Campaign
from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.pipeline.plan.reasons import differences, in_words, is_rubric
from rft_pipeline.stages.graph import CONFIGURED, Node, chosen, nodes
from rft_pipeline.stages.payloads import payload, settings
from rft_pipeline.store import Record, RecordStore

Cause = Literal["absent", "edit", "rubric", "upstream"]
"""Never made (or its files are gone); settings or sources changed; the rubric alone did; only what it is made from."""


@dataclass(frozen=True)
class Decision:
    """What becomes of one node."""

    node: Node
    known: Mapping[str, Record]
    """Upstream records by role, as far as they are there already."""
    found: Record | None
    """The result that is there; none when the node has to run."""
    cause: Cause | None = None
    reasons: tuple[str, ...] = ()


def decide(campaign: Campaign, records: RecordStore, sources: Mapping[str, str], start: int = 1) -> list[Decision]:
    """One decision a node, upstream first. Rounds before `start` keep what they have."""
    settled: dict[str, Record | None] = {}
    decisions = []
    for here in nodes(campaign):
        above = {role: _playing(role, settled[name], settled) for role, name in here.upstream.items()}
        known = {role: record for role, record in above.items() if record is not None}
        if 0 < here.round < start:
            decision = Decision(here, known, records.current(here.key))
        else:
            decision = _decide(campaign, records, sources, here, known)
        settled[here.name] = decision.found
        decisions.append(decision)
    return decisions


def _playing(role: str, record: Record | None, settled: Mapping[str, Record | None]) -> Record | None:
    """The record that plays a role: for a policy that an eval report chose, the weights."""
    weights = None if record is None or role != "policy" else chosen(record)
    return record if weights is None else settled[weights]


def _decide(
    campaign: Campaign, records: RecordStore, sources: Mapping[str, str], here: Node, known: Mapping[str, Record]
) -> Decision:
    there = (*CONFIGURED, *known, *(() if "labels" in sources else ("labels",)))
    waiting = list(dict.fromkeys(name for role, name in here.upstream.items() if role not in there))
    made_from: dict[str, Any] = {"settings": settings(campaign, here)}
    if not waiting:
        made_from = payload(campaign, here, known, sources)
        found = records.find(here.key, fingerprint(made_from))
        if found is not None:
            return Decision(here, known, found)
    arriving = [f"{name} will be made" for name in waiting]
    current = records.current(here.key)
    if current is None:
        gone = records.was_made(here.key)
        return Decision(here, known, None, "absent", tuple(arriving or [_ABSENT[gone]]))
    lines = differences({key: current.payload[key] for key in made_from}, made_from)
    edited = [line for line in lines if not is_rubric(here.stage, line)]
    cause: Cause = "edit" if edited else "rubric" if lines else "upstream"
    own = [] if cause == "upstream" else [in_words(line) for line in lines]
    return Decision(here, known, None, cause, tuple(dict.fromkeys(own + arriving)))


_ABSENT = {True: "files of its record are missing", False: "never made"}
