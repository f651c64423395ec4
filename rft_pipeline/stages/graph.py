"""The graph of a campaign: its nodes, and what each depends on; `payloads` says what each is made from.

Rounds are unrolled, since a pipeline of assets knows no loops: round n starts from the checkpoint of round n − 1.

    prompts  rubric  policy  labels
    round_1/rollouts → round_1/judge_scores → round_1/reward_batches → round_1/checkpoints → round_1/eval_reports
    round_2/rollouts ← round_1/checkpoints …
    promotion ← the last round's eval_reports

With alarms a round follows the eval report of the one before, which names the checkpoint to start from (`chosen`).
"""

from dataclasses import dataclass

from rft_pipeline.campaign import Campaign
from rft_pipeline.errors import ConfigError
from rft_pipeline.store.records import Record

ROUND_STAGES = ("rollouts", "judge_scores", "reward_batches", "checkpoints", "eval_reports")

CODE_VERSIONS = {
    "prompts": "2",
    "rubric": "2",
    "policy": "1",
    "labels": "1",
    "judge_audit": "3",
    "rollouts": "2",
    "judge_scores": "3",
    "reward_batches": "3",
    "checkpoints": "3",
    "eval_reports": "6",
    "promotion": "3",
}
"""Grows when a stage's code gives another result for the same inputs; part of every fingerprint."""

START = "start_round"
"""The metric of an eval report with alarms that names the round whose checkpoint the next starts from; 0 is base."""

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
