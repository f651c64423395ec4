"""The graph of a campaign: every stage of every round, and the upstream records of each.

Rounds are unrolled, because a graph of assets has no loops. Round n starts from the checkpoint of round n - 1; with
alarms, from the checkpoint that the eval report of round n - 1 names.

    prompts  rubric  policy (→ warm_start)  labels  judge_audit
    round_1/rollouts → round_1/judge_scores → round_1/reward_batches → round_1/checkpoints → round_1/eval_reports
    round_2/rollouts ← round_1/checkpoints …
    promotion ← the last round's eval_reports
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rft_pipeline.campaign import Campaign
from rft_pipeline.campaign.addresses import judge_inputs, judge_models, with_answer_settings
from rft_pipeline.errors import ConfigError
from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.stages import STAGES
from rft_pipeline.stages.base import ORDER_ONLY, Node, Payload, Sources, Upstream
from rft_pipeline.store import Record

ROUND_STAGES = tuple(stage.name for stage in STAGES.values() if stage.scope == "round")


def nodes(campaign: Campaign) -> list[Node]:
    """All nodes, upstream first."""
    stages = [stage for stage in STAGES.values() if stage.exists(campaign)]
    places = [
        *((stage, stage.name, 0) for stage in stages if stage.scope == "campaign"),
        *(
            (stage, f"round_{round_}/{stage.name}", round_)
            for round_ in range(1, campaign.rounds + 1)
            for stage in stages
            if stage.scope == "round"
        ),
        *((stage, stage.name, campaign.rounds) for stage in stages if stage.scope == "end"),
    ]
    return [
        Node(campaign.name, name, stage.name, round_, stage.upstream(campaign, round_))
        for stage, name, round_ in places
    ]


def node(campaign: Campaign, name: str) -> Node:
    """The node called `name`. Raises `ConfigError` with all names if there is none."""
    by_name = {found.name: found for found in nodes(campaign)}
    if name not in by_name:
        raise ConfigError(f"campaign {campaign.name} has no stage {name!r}; it has: {', '.join(by_name)}")
    return by_name[name]


def made_together(campaign: Campaign, here: Node) -> list[Node]:
    """The nodes that one run makes together with `here`, upstream first: alone, or with its round's generations."""
    if campaign.generations is None or not STAGES[here.stage].in_generations:
        return [here]
    return [each for each in nodes(campaign) if each.round == here.round and STAGES[each.stage].in_generations]


def payload(campaign: Campaign, node: Node, upstream: Upstream, sources: Sources) -> Payload:
    """What a node's result is made from: the readable form of its record's fingerprint."""
    return STAGES[node.stage].made_from(campaign, node, upstream, sources)


def settings(campaign: Campaign, node: Node) -> dict[str, Any]:
    """The settings that change a node's result."""
    return STAGES[node.stage].settings(campaign, node)


@dataclass(frozen=True)
class Resolved:
    """The upstream records of a node."""

    records: Mapping[str, Record]
    """Those that exist, by role."""
    missing: tuple[str, ...]
    """Names of the nodes that must run first."""

    @property
    def waits_for(self) -> tuple[str, ...]:
        """The missing nodes whose content the node's fingerprint needs."""
        return tuple(name for name in self.missing if name not in ORDER_ONLY)


def resolve(node: Node, sources: Sources, record_of: Callable[[str], Record | None]) -> Resolved:
    """The upstream records of a node by role; `record_of` returns a node's record by its name.

    If the policy is an eval report, the checkpoint that it names takes its place. Labels are optional: without any,
    they need no record.
    """
    records, missing = {}, []
    for role, above in node.upstream.items():
        record = record_of(above)
        if record is not None and role == "policy":
            weights = STAGES[record.payload["stage"]].policy_node(record)
            above, record = (above, record) if weights is None else (weights, record_of(weights))
        if record is not None:
            records[role] = record
        elif role != "labels" or "labels" in sources:
            missing.append(above)
    return Resolved(records, tuple(dict.fromkeys(missing)))


def code_versions(campaign: Campaign, champion: str | None = None) -> dict[str, str]:
    """Node → a version that changes with the code and the settings of the node and of all nodes upstream.

    Dagster compares a node with its direct upstream only; with these versions, everything downstream of an edit shows
    as unsynced at once. `champion` is the content hash of the champion that the campaign starts from, if any.
    """
    found: dict[str, str] = {}
    judges = with_answer_settings(campaign, judge_models(campaign))
    for here in nodes(campaign):
        stage = STAGES[here.stage]
        above = {role: found[name] for role, name in here.upstream.items() if role not in ORDER_ONLY}
        judge = judge_inputs(stage.criteria(campaign), judges)
        start = [champion] if champion and here.stage == "policy" else []
        found[here.name] = fingerprint([stage.version, stage.settings(campaign, here), judge, above, *start])
    return found
