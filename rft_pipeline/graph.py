"""The graph of a campaign: its nodes, what each depends on, and what each is made from.

Rounds are unrolled, since a pipeline of assets knows no loops: round n starts from the checkpoint of round n − 1.

    prompts  rubric  policy  labels
    round_1/rollouts → round_1/judge_scores → round_1/reward_batches → round_1/checkpoints → round_1/eval_reports
    round_2/rollouts ← round_1/checkpoints …
    promotion ← the last round's eval_reports

With alarms a round follows the eval report of the one before, which names the checkpoint to start from (`chosen`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rft_pipeline.addresses import judge_inputs, judge_models
from rft_pipeline.campaign import Campaign
from rft_pipeline.errors import ConfigError
from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.labels.table import HELD_OUT_LABELS
from rft_pipeline.rubric import Criterion
from rft_pipeline.store.records import Record

ROUND_STAGES = ("rollouts", "judge_scores", "reward_batches", "checkpoints", "eval_reports")

CODE_VERSIONS = {
    "prompts": "1",
    "rubric": "2",
    "policy": "1",
    "labels": "1",
    "judge_audit": "2",
    "rollouts": "1",
    "judge_scores": "2",
    "reward_batches": "3",
    "checkpoints": "1",
    "eval_reports": "3",
    "promotion": "2",
}
"""Grows when a stage's code gives another result for the same inputs; part of every fingerprint."""

START = "start_round"
"""The metric of an eval report with alarms that names the round whose checkpoint the next starts from; 0 is base."""

CONFIGURED = ("rubric",)
"""Roles whose content stages read in the campaign itself: they order the graph and enter no payload."""

NO_LABELS = "none"
"""What the labels are made from while nobody gave any."""


@dataclass(frozen=True)
class Node:
    """One stage of one round, or a source of the campaign."""

    campaign: str
    name: str
    """`prompts`, or `round_2/rollouts`."""
    stage: str
    round: int
    """0 for the sources; of the promotion the last, without which there is none."""
    upstream: dict[str, str]
    """Role → name of the node that plays it."""

    @property
    def key(self) -> str:
        """The key of the node's records, and of its Dagster asset."""
        return f"{self.campaign}/{self.name}"


def nodes(campaign: Campaign) -> list[Node]:
    """All nodes, upstream first."""
    found = [Node(campaign.name, source, source, 0, {}) for source in ("prompts", "rubric", "policy", "labels")]
    audit = {} if campaign.audit is None else {"judge_audit": "judge_audit"}
    if audit:
        found.append(Node(campaign.name, "judge_audit", "judge_audit", 0, {"rubric": "rubric", "labels": "labels"}))
    for round_ in range(1, campaign.rounds + 1):
        here = {stage: f"round_{round_}/{stage}" for stage in ROUND_STAGES}
        follows = "checkpoints" if campaign.alarms is None else "eval_reports"
        policy = "policy" if round_ == 1 else f"round_{round_ - 1}/{follows}"
        before = {} if campaign.alarms is None or round_ == 1 else {"before": f"round_{round_ - 1}/eval_reports"}
        earlier = {f"checkpoints_{r}": f"round_{r}/checkpoints" for r in range(1, round_ + 1)}
        judged = {f"judge_scores_{r}": f"round_{r}/judge_scores" for r in range(1, round_ + 1)}
        upstreams = {
            "rollouts": {"prompts": "prompts", "policy": policy},
            "judge_scores": {"rubric": "rubric", "prompts": "prompts", "rollouts": here["rollouts"]},
            "reward_batches": {
                "rubric": "rubric",
                "rollouts": here["rollouts"],
                "judge_scores": here["judge_scores"],
                "labels": "labels",
                **audit,
            },
            "checkpoints": {"base": "policy", "policy": policy, "reward_batches": here["reward_batches"]},
            "eval_reports": {
                "prompts": "prompts",
                "rubric": "rubric",
                **audit,
                "base": "policy",
                **earlier,
                **before,
                "labels": "labels",
                **judged,
            },
        }
        for stage in ROUND_STAGES:
            found.append(Node(campaign.name, here[stage], stage, round_, upstreams[stage]))
    above = {"eval_reports": here["eval_reports"], "prompts": "prompts", "rubric": "rubric", **audit}
    above |= {"base": "policy", **earlier}
    found.append(Node(campaign.name, "promotion", "promotion", campaign.rounds, above))
    return found


def node(campaign: Campaign, name: str) -> Node:
    """The node called `name`. Raises `ConfigError` listing those there are."""
    by_name = {found.name: found for found in nodes(campaign)}
    if name not in by_name:
        raise ConfigError(f"campaign {campaign.name} has no stage {name!r}; it has: {', '.join(by_name)}")
    return by_name[name]


def chosen(record: Record) -> str | None:
    """The node whose weights follow from an eval report; None for any other record.

    Who plays `policy` is this node's record, so that nothing is made again when another way led to the same weights.
    """
    if record.payload.get("stage") != "eval_reports":
        return None
    here = record.key.split("/")[1]
    start = int(record.metrics.get(START, here.removeprefix("round_")))
    return f"round_{start}/checkpoints" if start else "policy"


def payload(
    campaign: Campaign, node: Node, upstream: Mapping[str, Record], sources: Mapping[str, str]
) -> dict[str, Any]:
    """What a node's result is made from: the readable form of its record's fingerprint.

    `upstream` holds the records by role; `sources` the hashes of files and models outside the graph.
    """
    return {
        "stage": node.stage,
        "code_version": CODE_VERSIONS[node.stage],
        "settings": settings(campaign, node),
        "inputs": _INPUTS[node.stage](campaign, upstream, sources),
    }


def code_versions(campaign: Campaign, champion: str | None = None) -> dict[str, str]:
    """Node → a version that changes with the code or the settings of the node, or of any node it follows from.

    Dagster looks one step up only; with this all that follows from an edit shows as unsynced at once. `champion` is the
    content hash of the champion that the campaign starts from, if it does: another makes everything stale.
    """
    found: dict[str, str] = {}
    asked = dict.fromkeys(("judge_audit", "judge_scores"), campaign.rubric.criteria)
    asked |= dict.fromkeys(("eval_reports", "promotion"), campaign.evaluated)
    for here in nodes(campaign):
        above = {role: found[name] for role, name in here.upstream.items() if role not in CONFIGURED}
        judge = judge_inputs(asked[here.stage], judge_models(campaign)) if here.stage in asked else None
        start = [champion] if champion and here.stage == "policy" else []
        found[here.name] = fingerprint([CODE_VERSIONS[here.stage], settings(campaign, here), judge, above, *start])
    return found


def settings(campaign: Campaign, node: Node) -> dict[str, Any]:
    """The settings that a node's result follows from."""
    return _SETTINGS[node.stage](campaign, node)


def criteria(all_criteria: tuple[Criterion, ...]) -> dict[str, Any]:
    """What the judges see, by criterion."""
    return {criterion.name: criterion.payload for criterion in all_criteria}


_Upstream = Mapping[str, Record]
_Sources = Mapping[str, str]


def _rubric_settings(campaign: Campaign, node: Node) -> dict[str, Any]:
    every = (*campaign.rubric.criteria, *campaign.rubric.asked)
    versions = {each.judge.protocol: each.payload["protocol_version"] for each in every}
    return {**campaign.rubric.identity, "protocol_versions": versions}


def _rollouts_settings(campaign: Campaign, node: Node) -> dict[str, Any]:
    return {
        **campaign.rollouts.identity,
        "system": campaign.policy.system,
        "seed": campaign.seed,
        "round": node.round,
    }


def _checkpoints_settings(campaign: Campaign, node: Node) -> dict[str, Any]:
    settings = {**campaign.training.identity, "seed": campaign.seed}
    if campaign.training.method == "grpo":  # the ratio is of the tempered distribution; the others read none
        settings["temperature"] = campaign.rollouts.sampling.temperature
    if campaign.training.weights != "lora":
        del settings["lora"]
    if campaign.training.method == "raft" or campaign.training.mask_truncated:
        settings["chosen"] = 2  # 1 imitated what was as bad as the rest, and moved the advantages beside a masked one
    return settings


def _eval_reports_settings(campaign: Campaign, node: Node) -> dict[str, Any]:
    return {
        **campaign.evaluation.identity,
        **_aggregation(campaign),
        **_alarms(campaign),
        "criteria": criteria(campaign.evaluated),
        "shown_in_order": campaign.rubric.names,
        "system": campaign.policy.system,
        "seed": campaign.seed,
    }


def _alarms(campaign: Campaign) -> dict[str, Any]:
    if campaign.alarms is None:
        return {}
    thresholds = {name: value for name, value in campaign.alarms.identity.items() if name != "held_out"}
    return {"alarms": {**thresholds, "held_out": campaign.alarms.held_out_weights()}}


def _by_group(campaign: Campaign) -> bool:
    """Whether the noise of the judges counts within each group."""
    return campaign.audit is not None and campaign.audit.by_group


def _aggregation(campaign: Campaign) -> dict[str, Any]:
    return {"weights": campaign.rubric.weights(), "gates": campaign.rubric.gates()}


_SETTINGS: dict[str, Callable[[Campaign, Node], dict[str, Any]]] = {
    "prompts": lambda campaign, node: campaign.prompts.identity,
    "rubric": _rubric_settings,
    "policy": lambda campaign, node: {"model": campaign.policy.model},
    "labels": lambda campaign, node: {},
    "judge_audit": lambda campaign, node: {
        "audit": None if campaign.audit is None else campaign.audit.identity,
        "criteria": criteria(campaign.rubric.criteria),
        "seed": campaign.seed,
    },
    "rollouts": _rollouts_settings,
    "judge_scores": lambda campaign, node: {"criteria": criteria(campaign.rubric.criteria)},
    "reward_batches": lambda campaign, node: {
        **campaign.reward.identity,
        **_aggregation(campaign),
        **({"by_group": True} if _by_group(campaign) else {}),
    },
    "checkpoints": _checkpoints_settings,
    "eval_reports": _eval_reports_settings,
    "promotion": lambda campaign, node: {
        **_eval_reports_settings(campaign, node),
        **campaign.promotion.identity,
    },
}


def _eval_reports_inputs(campaign: Campaign, upstream: _Upstream, sources: _Sources) -> dict[str, str]:
    """What was judged of the rounds counts only where people's labels of it do."""
    above = _read(upstream)
    read = [role for role in above if role != "prompts" and ("labels" in above or not role.startswith("judge_scores"))]
    policies = {role: above[role].content_hash for role in read}
    anchors = {} if campaign.alarms is None or "anchors" not in sources else {"anchors": sources["anchors"]}
    judges = judge_inputs(campaign.evaluated, sources)
    return {"prompts": upstream["prompts"].parts["eval"], **policies, **anchors, **judges}


def _promotion_inputs(campaign: Campaign, upstream: _Upstream, sources: _Sources) -> dict[str, str]:
    """The champion is whom the rounds have to beat: base, until there is one."""
    evidence = upstream["eval_reports"].content_hash
    champion = sources.get(f"champion.{evidence}", sources.get("champion", ""))
    compared = {role: record for role, record in upstream.items() if role != "eval_reports"}
    return {
        "eval_reports": evidence,
        "champion": champion or upstream["base"].content_hash,
        **_eval_reports_inputs(campaign, compared, sources),
        **({HELD_OUT_LABELS: sources[HELD_OUT_LABELS]} if HELD_OUT_LABELS in sources else {}),
    }


def _reward_batches_inputs(campaign: Campaign, upstream: _Upstream, sources: _Sources) -> dict[str, str]:
    inputs = {role: record.content_hash for role, record in _read(upstream).items()}
    if _by_group(campaign):
        audit = upstream["judge_audit"]
        inputs["noise"] = audit.parts.get("noise", audit.content_hash)
    return inputs


def _read(upstream: _Upstream) -> _Upstream:
    """Without those read in the campaign itself, and without labels when nobody gave any."""
    there = {role: record for role, record in upstream.items() if role not in CONFIGURED}
    return {role: record for role, record in there.items() if role != "labels" or record.rows["labels"]}


def _checkpoints_inputs(campaign: Campaign, upstream: _Upstream, sources: _Sources) -> dict[str, str]:
    """The batch's content is what grpo reads; the other methods choose by reward, and look at references."""
    inputs = {role: upstream[role].content_hash for role in ("policy", "reward_batches")}
    if campaign.training.held_to_base:
        inputs["base"] = upstream["base"].content_hash
    if campaign.training.method != "grpo":
        batch = upstream["reward_batches"]
        inputs["choices"] = batch.parts.get("choices", batch.content_hash)
    return inputs


def _judge(campaign: Campaign, sources: _Sources) -> dict[str, str]:
    """The models that the criteria ask."""
    return judge_inputs(campaign.rubric.criteria, sources)


_INPUTS: dict[str, Callable[[Campaign, _Upstream, _Sources], dict[str, str]]] = {
    "prompts": lambda campaign, upstream, sources: {split: sources[f"prompts.{split}"] for split in ("train", "eval")},
    "rubric": lambda campaign, upstream, sources: {},
    "policy": lambda campaign, upstream, sources: {"weights": sources["policy"]},
    "labels": lambda campaign, upstream, sources: {"labels": sources.get("labels", NO_LABELS)},
    "judge_audit": lambda campaign, upstream, sources: {
        "anchors": sources["anchors"],
        **{role: record.content_hash for role, record in _read(upstream).items()},
        **_judge(campaign, sources),
    },
    "rollouts": lambda campaign, upstream, sources: {
        "prompts": upstream["prompts"].parts["train"],
        "policy": upstream["policy"].content_hash,
    },
    "judge_scores": lambda campaign, upstream, sources: {
        "rollouts": upstream["rollouts"].content_hash,
        **_judge(campaign, sources),
    },
    "reward_batches": _reward_batches_inputs,
    "checkpoints": _checkpoints_inputs,
    "eval_reports": _eval_reports_inputs,
    "promotion": _promotion_inputs,
}
