"""The round that a run starts from after an edit of the rubric, and the plans of all stages for that run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rft_pipeline.campaign import Campaign
from rft_pipeline.errors import ConfigError
from rft_pipeline.pipeline.plan.edits import steering_edits, trains
from rft_pipeline.pipeline.plan.node_plans import NodePlan, node_plans
from rft_pipeline.stages import STAGES, Node
from rft_pipeline.store import RecordStore


@dataclass(frozen=True)
class Settled:
    """What a run would do."""

    first_round: int
    """Earlier rounds keep what they have."""
    plans: Sequence[NodePlan]
    """One a node, upstream first."""
    kept: frozenset[str]
    """Names of the stale nodes that keep what they have."""
    left_out: frozenset[str] = frozenset()
    """Names of all nodes that keep what they have whether it is stale or not; the run does not include them."""

    @property
    def keys(self) -> list[str]:
        """The nodes of the run."""
        return [each.node.key for each in self.plans if each.node.name not in self.left_out]


def settle(campaign: Campaign, records: RecordStore, sources: Mapping[str, str], start: int | None = None) -> Settled:
    """What a run from round `start` would do; without `start`, what `on_rubric_change` chooses: it runs from a certain
    round, or (`off`) trains nothing and makes the reports and the promotion.

    Raises `ConfigError` when rounds before `start` were never made.
    """
    if start is not None:
        _check_start(campaign, records, start)
    everything = node_plans(campaign, records, sources)
    first = first_round(campaign, everything) if start is None else start
    if first == 1:
        return Settled(1, everything, frozenset())
    return settled_without(
        campaign, records, sources, everything, trains if first > campaign.rounds else lambda node: node.round < first
    )


def settled_without(
    campaign: Campaign,
    records: RecordStore,
    sources: Mapping[str, str],
    everything: Sequence[NodePlan],
    keep: Callable[[Node], bool],
) -> Settled:
    """What a run would do in which the nodes of rounds that `keep` is true for keep what they have."""
    left_out = {each.node.name for each in everything if each.node.round and keep(each.node)}
    plans = node_plans(campaign, records, sources, keep=lambda node: node.name in left_out)
    stale = {each.node.name for each in everything if each.cause}
    first = min(each.node.round for each in everything if each.node.round and each.node.name not in left_out)
    return Settled(first, plans, frozenset(left_out & stale), frozenset(left_out))


def first_round(campaign: Campaign, everything: Sequence[NodePlan]) -> int:
    """The first round whose stale stages run; earlier rounds keep what they have.

    `everything` holds the plans of a run from round 1. The result is 1, unless only the rubric or labels were edited.
    Then `on_rubric_change` decides: `continue` keeps the rounds before the last (rounds in generations are continued by
    an edit cycle instead), `off` keeps all rounds (the result is one more than there are), `redo` keeps none.
    """
    if campaign.generations is not None:
        off = campaign.on_rubric_change == "off" and steering_edits(everything)
        return campaign.rounds + 1 if off else 1
    if campaign.on_rubric_change == "redo":
        return 1
    start = campaign.rounds if campaign.on_rubric_change == "continue" else campaign.rounds + 1
    kept = [each for each in everything if each.node.round < start and STAGES[each.node.stage].scope != "end"]
    only_the_rubric = all(each.cause in (None, "rubric", "upstream") or each.node.stage == "labels" for each in kept)
    edited = any(
        (each.cause == "rubric" and (each.node.round > 0 or each.node.stage == "judge_audit"))
        or (each.cause and each.node.stage == "labels")
        for each in kept
    )
    return start if only_the_rubric and edited else 1


def _check_start(campaign: Campaign, records: RecordStore, start: int) -> None:
    """Raise `ConfigError` unless the rounds before `start` exist."""
    if not 1 <= start <= campaign.rounds:
        raise ConfigError(f"round_{start}: {campaign.name} has rounds 1 to {campaign.rounds}")
    if start > 1 and records.current(f"{campaign.name}/round_{start - 1}/checkpoints") is None:
        raise ConfigError(
            f"round_{start} starts from {campaign.name}/round_{start - 1}/checkpoints, which was never made; "
            "start from an earlier round"
        )
