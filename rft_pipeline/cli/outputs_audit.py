"""What `rft audit --json` and `rft rubric suggest --json` print: the dataclasses of their JSON Schemas."""

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Bounds:
    """A mean with its 95 % interval; null where unknown."""

    mean: float | None
    lower95: float | None
    upper95: float | None


@dataclass(frozen=True)
class Measured:
    """How a judge agrees with labels."""

    youden_j: Bounds
    true_positives: Bounds
    false_positives: Bounds
    good: int
    bad: int
    auc: Bounds
    cohen_kappa: Bounds
    within_prompt: Bounds


@dataclass(frozen=True)
class Weighed(Measured):
    """A verdict, and the numbers that it follows from."""

    power: Literal["trains", "noise", "monitor", "unaudited"]
    weight: float
    """Share of the rubric's weight that counts in training, in [0, 1]."""


@dataclass(frozen=True)
class WeighedWithReason(Weighed):
    reason: str


@dataclass(frozen=True)
class AnnotatorPair:
    annotators: tuple[str, str]
    rollouts: int
    agreement: Bounds
    cohen_kappa: Bounds


@dataclass(frozen=True)
class AmongPeople:
    krippendorff_alpha: Bounds
    cohen_kappa: float | None
    pairs: list[AnnotatorPair]


@dataclass(frozen=True)
class FromPeople:
    """What people's labels of rollouts change."""

    measured: int
    fitted: int
    before: WeighedWithReason
    """The verdict from the anchors alone."""
    rollouts: Measured
    people: AmongPeople | None


@dataclass(frozen=True)
class CalibrationError:
    before: float
    after: float
    measured_on: str


@dataclass(frozen=True)
class Fitted:
    """The `squash` of a likelihood protocol, for rubric.yaml."""

    offset: float
    scale: float


@dataclass(frozen=True)
class RetestFound:
    replies: int
    shift: Bounds
    largest: float
    crossed: Bounds
    deterministic: bool
    words: str


@dataclass(frozen=True)
class OrderFound:
    pairs: int
    flips: Bounds
    first: Bounds


@dataclass(frozen=True)
class NoiseFound:
    variance: Bounds
    flips: float | None
    prompts: int
    words: str


@dataclass(frozen=True)
class WorstReply:
    id: str
    prompt: str
    completion: str
    label: float
    score: float
    reason: str | None


@dataclass(frozen=True)
class AuditedCriterion(Weighed):
    criterion: str
    protocol: str
    faults: list[str]
    """Biases that reduced the weight."""
    suspected: list[str]
    reason: str
    anchors: int
    unscored_share: Bounds
    threshold: float | None
    """The score from which a reply passes."""
    checks: dict[str, Bounds]
    """Bias → what was found."""
    calibration_error: CalibrationError | None
    calibration: Literal["platt", "isotonic"] | None
    squash: Fitted | None
    retest: RetestFound | None
    order: OrderFound | None
    noise: NoiseFound | None
    """Only with `audit.by_group`."""
    not_measured: dict[str, str]
    """What was not measured → why."""
    from_people: FromPeople | None
    worst: list[WorstReply]
    """Replies with the largest distance between score and label."""


@dataclass(frozen=True)
class PairAgreement:
    share: Bounds
    pairs: int
    prompts: int
    unscored: int


@dataclass(frozen=True)
class DecidedPairs:
    decided: int
    prompts: int
    agreement: dict[str, PairAgreement]
    """Criterion, or `reward` → agreement with people."""
    warning: str | None


@dataclass(frozen=True)
class Audited:
    """`rft audit --json`."""

    criteria: list[AuditedCriterion]
    pairs: DecidedPairs | None
    """Blind pairs that people decided."""
    feedback: dict[str, Any] | None
    """Users' feedback in logs: counts, `agreement` and `weeks`."""


@dataclass(frozen=True)
class Squashes:
    """`rft audit --suggest --json`."""

    squash: dict[str, Fitted | None]
    """Criterion → fitted to the labels."""


@dataclass(frozen=True)
class HalfOfLabels:
    labels: int
    good: int
    bad: int
    prompts: int


@dataclass(frozen=True)
class Halves:
    choosing: HalfOfLabels
    held_out: HalfOfLabels


@dataclass(frozen=True)
class TriedJudge:
    judge: dict[str, Any]
    """As rubric.yaml has it."""
    auc: float | None


@dataclass(frozen=True)
class TriedCandidate(TriedJudge):
    note: str | None


@dataclass(frozen=True)
class ComparedSide:
    auc: Bounds
    cohen_kappa: Bounds
    agreement: Bounds
    unscored: Bounds


@dataclass(frozen=True)
class Differences:
    auc: Bounds
    cohen_kappa: Bounds


@dataclass(frozen=True)
class ComparedJudges:
    before: ComparedSide
    after: ComparedSide
    difference: Differences
    decides: Literal["auc", "cohen_kappa"]
    earlier_looks: int


@dataclass(frozen=True)
class Suggested:
    """`rft rubric suggest --json`."""

    campaign: str
    criterion: str
    halves: Halves
    candidates: list[TriedCandidate]
    unusable: list[str]
    present: TriedJudge
    suggested: dict[str, Any] | None
    held_out: ComparedJudges | None
    """The comparison on the half that decides; null if no candidate was better on the other."""
    better: bool
    file: str | None
