"""Which stages must run: compares what each would be made from with what its current record was made from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from rft_pipeline.campaign import Campaign
from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.pipeline.plan.as_written import as_written
from rft_pipeline.pipeline.plan.reasons import Absent, Change, Reason, Waits, changes
from rft_pipeline.stages import STAGES, Node
from rft_pipeline.stages.base import Payload
from rft_pipeline.stages.graph import nodes, payload, resolve, settings
from rft_pipeline.store import Record, RecordStore

Cause = Literal["absent", "edit", "rubric", "upstream"]
"""Why a node runs. `absent`: it has no record, or files of it are missing. `edit`: settings or sources changed.
`rubric`: only the rubric or people's labels changed. `upstream`: only upstream content changes."""


@dataclass(frozen=True)
class NodePlan:
    """What a run would do with one node."""

    node: Node
    known: Mapping[str, Record]
    """The upstream records that exist, by role."""
    found: Record | None
    """The record that is kept; None when the node runs."""
    cause: Cause | None = None
    reasons: tuple[Reason, ...] = ()
    made_from: Payload | None = None
    """What the node's result is made from; None when it waits for others."""
    same: Record | None = None
    """The current record, if the node runs and its content stays the same."""


def node_plans(
    campaign: Campaign,
    records: RecordStore,
    sources: Mapping[str, str],
    keep: Callable[[Node], bool] = lambda node: False,
) -> list[NodePlan]:
    """One plan a node, upstream first. Nodes that `keep` is true for keep their records."""
    settled: dict[str, Record | None] = {}
    plans = []
    for here in nodes(campaign):
        if keep(here):
            known = resolve(here, sources, settled.get).records
            plan = NodePlan(here, known, records.current(here.key))
        else:
            plan = _plan(campaign, records, sources, here, settled)
        settled[here.name] = plan.found or plan.same
        plans.append(plan)
    return plans


def informs(node: Node, change: Change) -> bool:
    """Whether a change leaves the node's content as it is."""
    area, *rest = change.path
    return area == "inputs" and bool(rest) and rest[0] in STAGES[node.stage].informs


def _plan(
    campaign: Campaign,
    records: RecordStore,
    sources: Mapping[str, str],
    here: Node,
    settled: Mapping[str, Record | None],
) -> NodePlan:
    resolved = resolve(here, sources, settled.get)
    known = resolved.records
    made_from: Payload = {"settings": settings(campaign, here)}
    whole = None
    if not resolved.waits_for:
        made_from = whole = payload(campaign, here, known, sources)
        found = records.find(here.key, fingerprint(made_from))
        if found is not None:
            return NodePlan(here, known, found, made_from=whole)
    waits = tuple(Waits(name) for name in resolved.waits_for)
    current = records.current(here.key)
    if current is None:
        return NodePlan(here, known, None, "absent", waits or (Absent(records.was_made(here.key)),), whole)
    changed = as_written(
        changes({key: current.payload[key] for key in made_from}, made_from), current, campaign, records
    )
    edited = not STAGES[here.stage].of_people and any(not change.of_rubric for change in changed)
    cause: Cause = "edit" if edited else "rubric" if changed else "upstream"
    keeps_content = not waits and all(informs(here, change) for change in changed)
    return NodePlan(here, known, None, cause, (*changed, *waits), whole, current if changed and keeps_content else None)
