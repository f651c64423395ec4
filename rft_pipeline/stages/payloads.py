"""What each node of a campaign is made from: its settings and the content of its inputs, readable, before hashing."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from rft_pipeline.campaign import Campaign
from rft_pipeline.campaign.addresses import judge_inputs, judge_models, with_answer_settings
from rft_pipeline.campaign.cycles import DRIFT
from rft_pipeline.campaign.rubric import Criterion
from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.labels.table import HELD_OUT_LABELS
from rft_pipeline.promotion.looks import LOOK, LOOKS, Looks, decision_of, look_number
from rft_pipeline.stages.graph import CODE_VERSIONS, CONFIGURED, Node, nodes
from rft_pipeline.store.records import Record

NO_LABELS = "none"
"""What the labels are made from while nobody gave any."""
ALARMS = 3
"""Grows when alarms say another thing of the same replies; reports and promotions without alarms stay as they are."""


def payload(
    campaign: Campaign, node: Node, upstream: Mapping[str, Record], sources: Mapping[str, str]
) -> dict[str, Any]:
    """What a node's result is made from: the readable form of its record's fingerprint.

    `upstream` holds the records by role; `sources` the hashes of files and models outside the graph.
    """
    found: dict[str, Any] = {
        "stage": node.stage,
        "code_version": CODE_VERSIONS[node.stage],
        "settings": settings(campaign, node),
        "inputs": _INPUTS[node.stage](campaign, upstream, sources),
    }
    if node.stage == "eval_reports" and node.round == 1 and DRIFT in sources:
        found["inputs"][DRIFT] = sources[DRIFT]
    if node.stage == "promotion":
        found["inputs"][LOOK] = str(_look(found, sources))
    return found


def look_of(campaign: Campaign, node: Node, upstream: Mapping[str, Record], sources: Mapping[str, str]) -> int:
    """The number of a promotion's decision among those on the same held-out prompts."""
    return int(payload(campaign, node, upstream, sources)["inputs"][LOOK])


def _look(made_from: dict[str, Any], sources: Mapping[str, str]) -> int:
    known: Looks = json.loads(sources.get(LOOKS, "{}"))
    return look_number(known, made_from["inputs"]["prompts"], decision_of(made_from))


def code_versions(campaign: Campaign, champion: str | None = None) -> dict[str, str]:
    """Node → a version that changes with the code or the settings of the node, or of any node it follows from.

    Dagster looks one step up only; with this all that follows from an edit shows as unsynced at once. `champion` is the
    content hash of the champion that the campaign starts from, if it does: another makes everything stale.
    """
    found: dict[str, str] = {}
    asked = dict.fromkeys(("judge_audit", "judge_scores"), campaign.rubric.criteria)
    judges = with_answer_settings(campaign, judge_models(campaign))
    asked |= dict.fromkeys(("eval_reports", "promotion"), campaign.evaluated)
    for here in nodes(campaign):
        above = {role: found[name] for role, name in here.upstream.items() if role not in CONFIGURED}
        judge = judge_inputs(asked[here.stage], judges) if here.stage in asked else None
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
    every = (*campaign.rubric.criteria, *campaign.rubric.single_criteria)
    versions = {each.judge.protocol: each.payload["protocol_version"] for each in every}
    return {**campaign.rubric.identity, "protocol_versions": versions}


def _rollouts_settings(campaign: Campaign, node: Node) -> dict[str, Any]:
    return {
        **campaign.rollouts.identity,
        "system": campaign.policy.system,
        "system_in": campaign.policy.system_in,
        "seed": campaign.seed,
        "round": node.round,
    }


def _checkpoints_settings(campaign: Campaign, node: Node) -> dict[str, Any]:
    settings = {**campaign.training.identity, "seed": campaign.seed}
    if campaign.training.method == "grpo":  # the ratio is of the tempered distribution; the others read none
        settings["temperature"] = campaign.rollouts.sampling.temperature
    if campaign.training.weights != "lora":
        del settings["lora"]
    if campaign.training.method == "grpo" and campaign.training.loss_type == "dr_grpo":
        settings["max_new_tokens"] = campaign.rollouts.sampling.max_new_tokens
    if campaign.training.method == "sft":
        settings["weights"] = campaign.rubric.weights()
    return settings


def _eval_reports_settings(campaign: Campaign, node: Node) -> dict[str, Any]:
    return {
        **campaign.evaluation.identity,
        **_aggregation(campaign),
        **_alarms(campaign),
        "criteria": criteria(campaign.evaluated),
        "shown_in_order": campaign.rubric.names,
        "system": campaign.policy.system,
        "system_in": campaign.policy.system_in,
        "seed": campaign.seed,
    }


def _alarms(campaign: Campaign) -> dict[str, Any]:
    if campaign.alarms is None:
        return {}
    thresholds = {name: value for name, value in campaign.alarms.identity.items() if name != "held_out"}
    return {"alarms": {"version": ALARMS, **thresholds, "held_out": campaign.alarms.held_out_weights()}}


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
        **({} if campaign.reward.damping else {"equal": 2}),  # 1 took rounding among equal scores for a spread
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
    """The batch's content is what grpo reads; the other methods choose by reward or by what people said, and look at
    references."""
    inputs = {role: upstream[role].content_hash for role in ("policy", "reward_batches")}
    if campaign.training.held_to_base:
        inputs["base"] = upstream["base"].content_hash
    if campaign.training.method != "grpo":
        batch = upstream["reward_batches"]
        inputs["choices"] = batch.parts.get("choices", batch.content_hash)
        if campaign.training.method == "sft" and "people" in batch.parts:
            inputs["people"] = batch.parts["people"]
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
