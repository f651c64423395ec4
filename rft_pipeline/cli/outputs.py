"""The JSON Schemas of what commands print with `--json`, from dataclasses with the same keys."""

from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from rft_pipeline.check.result import LabelCounts
from rft_pipeline.cli import outputs_audit as of_audit
from rft_pipeline.cli import outputs_labels as of_labels
from rft_pipeline.cli.campaign_status import CampaignStatus
from rft_pipeline.lineage.diff.scores import ScoreDiff
from rft_pipeline.lineage.trace_criterion import CriterionTrace
from rft_pipeline.lineage.trace_record import RecordTrace
from rft_pipeline.lineage.trace_rows import PromptTrace, RolloutTrace
from rft_pipeline.pipeline.plan.steps import PlannedStage
from rft_pipeline.upkeep.copying import Copied
from rft_pipeline.upkeep.gc import GarbageLine
from rft_pipeline.upkeep.verify import Verified


@dataclass(frozen=True)
class CampaignStatuses:
    """`rft status --json`."""

    campaigns: list[CampaignStatus]


@dataclass(frozen=True)
class CheckedCriterion:
    name: str
    scored_by: str
    weight: float
    """Of all weights, which sum to 1."""
    gate: float | None
    anchors: LabelCounts | None
    labelled_otherwise: list[str]
    """Ids of the anchors on which a rule and the label differ; none for judges, which the audit measures."""


@dataclass(frozen=True)
class WatchingCriterion:
    """A judge of the alarms, which trains nothing and is not audited."""

    name: str
    scored_by: str


@dataclass(frozen=True)
class BadCampaign:
    campaign: str
    errors: list[str]
    warnings: list[str]


@dataclass(frozen=True)
class GoodCampaign:
    campaign: str
    errors: list[str]
    """None."""
    warnings: list[str]
    rounds: int
    train_prompts: int
    eval_prompts: int
    anchors: int
    formats: dict[str, str]
    """Split → the format of its rows, in words."""
    criteria: list[CheckedCriterion]
    without_squash: list[str]
    """Criteria whose scores are not fitted to any labels yet."""
    alarms: list[WatchingCriterion]
    """The criteria of `alarms.held_out`."""
    logs: str | None


@dataclass(frozen=True)
class CheckedCampaigns:
    """`rft check --json`."""

    campaigns: list[GoodCampaign | BadCampaign]


@dataclass(frozen=True)
class Planned:
    """`rft plan --json`."""

    stages: list[PlannedStage]
    first_round: int
    keys: list[str]
    """The stages of the run."""
    seconds: float | None
    cost: float | None
    """In `currency`."""
    currency: str


@dataclass(frozen=True)
class PlannedCycle:
    summary: str
    cycle: Planned


@dataclass(frozen=True)
class PlannedEdit(Planned):
    """`rft plan --json` after an edit that the campaign continues from: first the reports of what stands."""

    edit: PlannedCycle


@dataclass(frozen=True)
class Sides:
    """A number of record A and of record B."""

    a: float | None
    b: float | None


@dataclass(frozen=True)
class ComparedRecords:
    """`rft diff A B --json`."""

    a: str
    b: str
    same_content: bool
    differences: list[str]
    rows: dict[str, Sides]
    metrics: dict[str, Sides]
    scores: ScoreDiff | None


@dataclass(frozen=True)
class ComparedRubrics:
    """`rft diff CAMPAIGN --rubric OLD NEW --json`."""

    a: str
    b: str
    rollouts: str
    """The address of their record."""
    differences: list[str]
    made: int
    """New judgements."""
    scores: ScoreDiff


@dataclass(frozen=True)
class ReportedRound:
    round: int
    name: str
    reward: float | None
    """Mean held-out reward, with its 95 % interval."""
    lower95: float | None
    upper95: float | None
    criteria: dict[str, float | None]


@dataclass(frozen=True)
class ReportedPromotion:
    promoted: int | None
    champion: Any
    said: str
    stays: str | None
    page: str


@dataclass(frozen=True)
class Report:
    """`rft report --json`."""

    rounds: list[ReportedRound]
    baseline: str
    """Name of the policy that the rounds are compared with: base, warm start, or the start of a cycle."""
    start: str | None
    """In a cycle: the address of the checkpoint that it started from, which `rounds` calls `start`."""
    reweighted: str | None
    """Where another verdict of the audit changed a policy's reward since the report before: both rewards, and why."""
    delta: dict[str, Any]
    """The last round minus the baseline: mean and 95 % interval."""
    alarms: dict[str, Any] | None
    audit: dict[str, str] | None
    """Criterion → verdict."""
    kept: dict[str, float] | None
    """Criterion → the part of its weight that counts, in training and in the reward, from 0 to 1."""
    generations: list[dict[str, Any]] | None
    preferences: list[dict[str, Any]]
    promotion: ReportedPromotion | None
    report: str
    """The address of the page."""


@dataclass(frozen=True)
class SampledPrompt:
    prompt: str
    replies: dict[str, str | None]
    """Policy → reply."""


@dataclass(frozen=True)
class ReportWithSamples(Report):
    """`rft report --samples N --json`."""

    samples: list[SampledPrompt]


@dataclass(frozen=True)
class Freed:
    """`rft gc --json`."""

    freed: bool
    """Whether it was deleted (`--yes`)."""
    lines: list[GarbageLine]
    bytes: int
    records: list[str]
    being_made: list[str]


@dataclass(frozen=True)
class DrawnCycle:
    """`rft retrain --json`."""

    number: int
    prompts: int
    """Drawn prompts, `new` and `old` ones."""
    new: int
    old: int
    logged: int
    """Rows in the logs."""
    opted_out: int
    like_held_out: int
    redacted: dict[str, int]
    unusable: int
    withdrawn: int
    """Rows of the interrupted cycle that opted out since."""
    policy: dict[str, Any] | None
    """The champion that the cycle starts from."""
    refusal: str | None
    """Why no cycle begins."""
    folder: str | None
    """Of the current cycle; null with `--plan`."""


@dataclass(frozen=True)
class InstalledModel:
    """`rft models --json`."""

    name: str
    folder: str
    source: str
    content_hash: str


OUTPUTS: dict[str, Any] = {
    "check": CheckedCampaigns,
    "status": CampaignStatuses,
    "plan": Planned | PlannedEdit,
    "report": Report | ReportWithSamples,
    "trace": RecordTrace | RolloutTrace | PromptTrace | CriterionTrace,
    "diff": ComparedRecords | ComparedRubrics,
    "verify": Verified,
    "gc": Freed,
    "labels_export": of_labels.ExportedFile | of_labels.ExportedPages | of_labels.PairsFile | of_labels.PairsPages,
    "labels_import": of_labels.ImportedAll,
    "labels_show": of_labels.Labels,
    "models": InstalledModel,
    "retrain": DrawnCycle,
    "audit": of_audit.Audited | of_audit.Squashes,
    "rubric_suggest": of_audit.Suggested,
    "store_copy": Copied,
}


def output_schema(command: str) -> dict[str, Any]:
    """All keys of an object with fixed keys are always there, and it has no others."""
    found = TypeAdapter(OUTPUTS[command]).json_schema(mode="serialization")
    for each in (found, *found.get("$defs", {}).values()):
        if "properties" in each:
            each |= {"additionalProperties": False, "required": list(each["properties"])}
    return found
