"""The graph of a campaign: its nodes, what each depends on, and what each is made from.

Rounds are unrolled, since a pipeline of assets knows no loops: round n starts from the checkpoint of round n − 1.

    prompts  rubric  policy
    round_1/rollouts → round_1/judge_scores → round_1/reward_batches → round_1/checkpoints → round_1/eval_reports
    round_2/rollouts ← round_1/checkpoints …
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rft_pipeline.campaign import Campaign
from rft_pipeline.errors import ConfigError
from rft_pipeline.rubric import Criterion
from rft_pipeline.store.records import Record

ROUND_STAGES = ("rollouts", "judge_scores", "reward_batches", "checkpoints", "eval_reports")

CODE_VERSIONS = {
    "prompts": "1",
    "rubric": "1",
    "policy": "1",
    "rollouts": "1",
    "judge_scores": "1",
    "reward_batches": "1",
    "checkpoints": "1",
    "eval_reports": "1",
}
"""Grows when a stage's code gives another result for the same inputs; part of every fingerprint."""

CONFIGURED = ("rubric",)
"""Roles whose content stages read in the campaign itself: they order the graph and enter no payload."""


@dataclass(frozen=True)
class Node:
    """One stage of one round, or a source of the campaign."""

    campaign: str
    name: str
    """`prompts`, or `round_2/rollouts`."""
    stage: str
    round: int
    """0 for the sources."""
    upstream: dict[str, str]
    """Role → name of the node that plays it."""

    @property
    def key(self) -> str:
        """The key of the node's records, and of its Dagster asset."""
        return f"{self.campaign}/{self.name}"


def nodes(campaign: Campaign) -> list[Node]:
    """All nodes, upstream first."""
    found = [Node(campaign.name, source, source, 0, {}) for source in ("prompts", "rubric", "policy")]
    for round_ in range(1, campaign.rounds + 1):
        here = {stage: f"round_{round_}/{stage}" for stage in ROUND_STAGES}
        policy = "policy" if round_ == 1 else f"round_{round_ - 1}/checkpoints"
        earlier = {f"checkpoints_{r}": f"round_{r}/checkpoints" for r in range(1, round_ + 1)}
        upstreams = {
            "rollouts": {"prompts": "prompts", "policy": policy},
            "judge_scores": {"rubric": "rubric", "prompts": "prompts", "rollouts": here["rollouts"]},
            "reward_batches": {
                "rubric": "rubric",
                "rollouts": here["rollouts"],
                "judge_scores": here["judge_scores"],
            },
            "checkpoints": {"base": "policy", "policy": policy, "reward_batches": here["reward_batches"]},
            "eval_reports": {"prompts": "prompts", "rubric": "rubric", "base": "policy", **earlier},
        }
        for stage in ROUND_STAGES:
            found.append(Node(campaign.name, here[stage], stage, round_, upstreams[stage]))
    return found


def node(campaign: Campaign, name: str) -> Node:
    """The node called `name`. Raises `ConfigError` listing those there are."""
    by_name = {found.name: found for found in nodes(campaign)}
    if name not in by_name:
        raise ConfigError(f"campaign {campaign.name} has no stage {name!r}; it has: {', '.join(by_name)}")
    return by_name[name]


def payload(
    campaign: Campaign, node: Node, upstream: Mapping[str, Record], sources: Mapping[str, str]
) -> dict[str, Any]:
    """What a node's result is made from: the readable form of its record's fingerprint.

    `upstream` holds the records by role; `sources` the hashes of files and models outside the graph.
    """
    settings, inputs = _MADE_FROM[node.stage](campaign, node, upstream, sources)
    return {
        "stage": node.stage,
        "code_version": CODE_VERSIONS[node.stage],
        "settings": settings,
        "inputs": inputs,
    }


_MadeFrom = tuple[dict[str, Any], dict[str, str]]
_Upstream = Mapping[str, Record]
_Sources = Mapping[str, str]


def _prompts(campaign: Campaign, node: Node, upstream: _Upstream, sources: _Sources) -> _MadeFrom:
    return campaign.prompts.identity, {split: sources[f"prompts.{split}"] for split in ("train", "eval")}


def _rubric(campaign: Campaign, node: Node, upstream: _Upstream, sources: _Sources) -> _MadeFrom:
    return campaign.rubric.identity, {}


def _policy(campaign: Campaign, node: Node, upstream: _Upstream, sources: _Sources) -> _MadeFrom:
    return {"model": campaign.policy.model}, {"weights": sources["policy"]}


def _rollouts(campaign: Campaign, node: Node, upstream: _Upstream, sources: _Sources) -> _MadeFrom:
    settings = {
        **campaign.rollouts.identity,
        "system": campaign.policy.system,
        "seed": campaign.seed,
        "round": node.round,
    }
    return settings, {
        "prompts": upstream["prompts"].parts["train"],
        "policy": upstream["policy"].content_hash,
    }


def _judge_scores(campaign: Campaign, node: Node, upstream: _Upstream, sources: _Sources) -> _MadeFrom:
    judged = {"criteria": criteria(campaign.rubric.criteria)}
    return judged, {"rollouts": upstream["rollouts"].content_hash, **_judge(campaign, sources)}


def _reward_batches(campaign: Campaign, node: Node, upstream: _Upstream, sources: _Sources) -> _MadeFrom:
    settings = {**campaign.reward.identity, **_aggregation(campaign)}
    return settings, {role: upstream[role].content_hash for role in ("rollouts", "judge_scores")}


def _checkpoints(campaign: Campaign, node: Node, upstream: _Upstream, sources: _Sources) -> _MadeFrom:
    sampling = campaign.rollouts.sampling
    settings = {**campaign.training.identity, "temperature": sampling.temperature, "seed": campaign.seed}
    if campaign.training.weights != "lora":
        del settings["lora"]
    return settings, {role: upstream[role].content_hash for role in ("policy", "reward_batches")}


def _eval_reports(campaign: Campaign, node: Node, upstream: _Upstream, sources: _Sources) -> _MadeFrom:
    settings = {
        **campaign.evaluation.identity,
        **_aggregation(campaign),
        "criteria": criteria(campaign.rubric.criteria),
        "system": campaign.policy.system,
        "seed": campaign.seed,
    }
    policies = {role: record.content_hash for role, record in upstream.items() if role not in ("prompts", "rubric")}
    return settings, {"prompts": upstream["prompts"].parts["eval"], **policies, **_judge(campaign, sources)}


def criteria(all_criteria: tuple[Criterion, ...]) -> dict[str, Any]:
    """What the judges see, by criterion."""
    return {criterion.name: criterion.payload for criterion in all_criteria}


def _aggregation(campaign: Campaign) -> dict[str, Any]:
    return {"weights": campaign.rubric.weights(), "gates": campaign.rubric.gates()}


def _judge(campaign: Campaign, sources: _Sources) -> dict[str, str]:
    """The judge model's weights, when a criterion asks a model at all."""
    return {"judge": sources["judge"]} if campaign.rubric.judged else {}


_MADE_FROM: dict[str, Callable[[Campaign, Node, _Upstream, _Sources], _MadeFrom]] = {
    "prompts": _prompts,
    "rubric": _rubric,
    "policy": _policy,
    "rollouts": _rollouts,
    "judge_scores": _judge_scores,
    "reward_batches": _reward_batches,
    "checkpoints": _checkpoints,
    "eval_reports": _eval_reports,
}
