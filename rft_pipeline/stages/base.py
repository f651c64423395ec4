"""The interface of a stage, and a node: a stage in the graph of a campaign."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import polars as pl

from rft_pipeline.campaign import Campaign
from rft_pipeline.campaign.rubric import Criterion
from rft_pipeline.store import Record

if TYPE_CHECKING:
    from rft_pipeline.stages.counting import Counting
    from rft_pipeline.stages.job import Job
    from rft_pipeline.stages.round_made import RoundMade
    from rft_pipeline.stages.rows_used import FindRecord, JudgedRows

Upstream = Mapping[str, Record]
"""Records by role."""
Sources = Mapping[str, str]
"""Hashes of what is outside the graph: files, models, labels, the champion."""
Payload = dict[str, Any]

CHECKPOINT = "checkpoint"
"""The role of the checkpoint that a policy was taken from, in the policy's record."""
WARM_START = "warm_start"
"""The node with the policy that round 1 starts from, if `training.warm_start` is set."""
TRAINED = (WARM_START, "checkpoints")
"""The stages whose records hold weights."""
WARM_START_CALLED = "warm start"
"""The warm start's name for people."""
OTHER = "other"
"""The role of the policy in a report that is neither a round nor the baseline: base, or the warm start."""
OF_AUDIT = ("rubric", "labels", "judge_audit")
"""The stages of `rft audit`, upstream first."""
ORDER_ONLY = frozenset({"rubric"})
"""Roles that only order the graph. Their content is read from the campaign, so they enter no payload."""


@dataclass(frozen=True)
class Node:
    """One stage of one round, or of the campaign."""

    campaign: str
    name: str
    """`prompts`, or `round_2/rollouts`."""
    stage: str
    round: int
    """0 for stages that belong to no round; for the promotion, the last round."""
    upstream: dict[str, str]
    """Role → name of the upstream node."""

    @property
    def key(self) -> str:
        """The key of the node's records, and of its Dagster asset."""
        return f"{self.campaign}/{self.name}"


@dataclass(frozen=True)
class Output:
    """The result of a stage, in addition to its files."""

    content_hash: str
    parts: dict[str, str] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    upstream: dict[str, str] = field(default_factory=dict)
    """Role → address of a record outside the graph that was read: the champion's."""
    next_start: int | None = None
    """Only in eval reports with alarms: the round whose checkpoint the next round starts from, 0 for base."""


Loads = Literal["training", "judges", "rollouts", "evaluation"]
"""Training, judging, or sampling with the engine of that block in campaign.yaml."""


class MlflowRun(Protocol):
    """The MLflow run of a stage: what `Stage.track` can log."""

    def artifacts(self, record: Record, *names: str) -> None: ...

    def dataset(self, record: Record, file: str) -> None: ...

    def checkpoint(self, record: Record) -> None: ...

    def evaluated(self, record: Record, baseline: Mapping[str, float]) -> None: ...

    def finish(self) -> None: ...


class Stage:
    """One stage of the pipeline. The runner, the plan, `rft verify`, `rft gc` and the assets call it.

    A new stage is a subclass in a file of its own and a line in `stages.STAGES`.
    """

    name: ClassVar[str]
    description: ClassVar[str]
    """What its result holds, for the Dagster UI."""
    version: ClassVar[int]
    """Part of every fingerprint. Raise it when the stage's result for the same inputs changes."""
    scope: ClassVar[Literal["campaign", "round", "end"]] = "round"
    """`campaign`: once, before the rounds. `round`: once a round. `end`: once, after the last round."""
    loads: ClassVar[frozenset[Loads]] = frozenset()
    """What it loads models for: one stage at a time that loads a model runs on a machine."""
    appends: ClassVar[bool] = False
    """Whether it appends rows to the tables of rollouts and judgements."""
    pages: ClassVar[Mapping[str, str]] = {}
    """Its pages, the main one first: file in the record → suffix of the copy in the folder of reports."""
    in_generations: ClassVar[bool] = False
    """Whether it is made together with the other such stages of its round, where a round is cut into generations."""
    counted: ClassVar[str | None] = None
    """The entry of a record's `rows` that plans show; None shows 1. Where stages are made together, the time of work of
    this kind is the stage's own."""
    decides: ClassVar[bool] = False
    """Whether its record says which round becomes the champion; the runner then changes the champion."""
    of_people: ClassVar[bool] = False
    """Whether it is made only from the rubric and people's labels."""
    informs: ClassVar[frozenset[str]] = frozenset()
    """Inputs that change only its pages and numbers: its content stays the same, so nothing downstream runs."""

    def exists(self, campaign: Campaign) -> bool:
        """Whether a campaign has this stage."""
        return True

    def upstream(self, campaign: Campaign, round_: int) -> dict[str, str]:
        """Role → name of the upstream node."""
        return {}

    def criteria(self, campaign: Campaign) -> tuple[Criterion, ...]:
        """The criteria that it judges."""
        return ()

    def settings(self, campaign: Campaign, node: Node) -> dict[str, Any]:
        """The settings that change its result."""
        return {}

    def inputs(self, campaign: Campaign, node: Node, upstream: Upstream, sources: Sources) -> dict[str, str]:
        """The content hashes of what it reads."""
        raise NotImplementedError

    def made_from(self, campaign: Campaign, node: Node, upstream: Upstream, sources: Sources) -> Payload:
        """What its result is made from: the readable form of its record's fingerprint."""
        return {
            "stage": self.name,
            "code_version": str(self.version),
            "settings": self.settings(campaign, node),
            "inputs": self.inputs(campaign, node, upstream, sources),
        }

    def run(self, job: "Job") -> Output:
        """Make the result: read upstream records, do the work, write files into `job.workdir`."""
        raise NotImplementedError

    def of_generations(self, job: "Job", made: "RoundMade") -> Output:
        """Write the result from a round that was made in generations."""
        raise NotImplementedError

    def count(self, counting: "Counting") -> None:
        """Count the work of a run, for the plan."""
        counting.work.add(self.name, 1)

    def policy_node(self, record: Record) -> str | None:
        """The node whose weights are meant where this record is the policy; None if it holds weights itself."""
        return None

    def rollouts_in(self, record: Record) -> pl.DataFrame:
        """The rollout_id of every rollout in a record."""
        return pl.DataFrame(schema={"rollout_id": pl.String})

    def judgements_in(self, record: Record, at: "FindRecord") -> "Iterator[JudgedRows]":
        """The judgements that a record is made from; `at` finds an upstream record by its address."""
        return iter(())

    def track(self, record: Record, run: MlflowRun) -> None:
        """Log more to MLflow than the record's numbers and links."""


def policy_role(campaign: Campaign, round_: int) -> str:
    """The node of a round's policy. With alarms, the previous round's eval report names the weights."""
    if round_ == 1:
        return start_node(campaign)
    return f"round_{round_ - 1}/{'checkpoints' if campaign.alarms is None else 'eval_reports'}"


def start_node(campaign: Campaign) -> str:
    """The node of the policy that round 1 starts from."""
    return "policy" if campaign.training.warm_start is None else WARM_START


def compared_roles(campaign: Campaign) -> dict[str, str]:
    """The policies that the rounds are compared with: `base`, the baseline; with a warm start, also the other of the
    two as `other`."""
    if campaign.training.warm_start is None:
        return {"base": "policy"}
    baseline = campaign.evaluation.baseline
    return {"base": "policy", OTHER: WARM_START} if baseline == "base" else {"base": WARM_START, OTHER: "policy"}


def policy_called(campaign: Campaign, stage: str) -> str:
    """The name for people of the policy that a stage made: `base`, `start` or `warm start`; empty for a round's."""
    return {"policy": campaign.policy_called, WARM_START: WARM_START_CALLED}.get(stage, "")


def checkpoint_roles(round_: int) -> dict[str, str]:
    """The checkpoints of all rounds up to this one."""
    return {f"checkpoints_{each}": f"round_{each}/checkpoints" for each in range(1, round_ + 1)}


def audit_role(campaign: Campaign) -> dict[str, str]:
    return {} if campaign.audit is None else {"judge_audit": "judge_audit"}


def what_judges_see(criteria: tuple[Criterion, ...]) -> dict[str, Any]:
    """The settings of criteria that judges see, by criterion."""
    return {criterion.name: criterion.payload for criterion in criteria}


def content_read(upstream: Upstream) -> dict[str, str]:
    """Content hashes by role, without roles that only order the graph, and without labels if there are none."""
    return {
        role: record.content_hash
        for role, record in upstream.items()
        if role not in ORDER_ONLY and (role != "labels" or record.rows["labels"])
    }


def how_rewarded(campaign: Campaign) -> dict[str, Any]:
    """The settings of the rubric and the audit that rewards depend on."""
    return {
        "weights": campaign.rubric.weights(),
        "gates": campaign.rubric.gates(),
        "by_group": dampens_by_group(campaign),
    }


def how_trained(campaign: Campaign) -> dict[str, Any]:
    """The settings that training depends on."""
    training = campaign.training
    others = training.how.settings(training, campaign.rollouts.sampling, campaign.rubric.weights())
    return {**training.identity, **others}


def noise_read(campaign: Campaign, upstream: Upstream) -> dict[str, str]:
    """The content of the judges' noise, if it damps advantages."""
    return {"noise": upstream["judge_audit"].parts["noise"]} if dampens_by_group(campaign) else {}


def dampens_by_group(campaign: Campaign) -> bool:
    """Whether advantages are damped by the judges' noise within each group."""
    return campaign.audit is not None and campaign.audit.by_group
