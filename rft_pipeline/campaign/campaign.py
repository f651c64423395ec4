"""A campaign: everything about one use case that a user configures."""

from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from rft_pipeline.campaign.alarms import Alarms
from rft_pipeline.campaign.audit import Audit
from rft_pipeline.campaign.promotion_bounds import Promotion
from rft_pipeline.campaign.prompts import Evaluation, Prompts, Rollouts
from rft_pipeline.campaign.rubric import Criterion, Rubric
from rft_pipeline.campaign.running import Checks, Prices, Schedule
from rft_pipeline.campaign.serving import JudgeModel, Policy
from rft_pipeline.judges import DEFAULT_JUDGE, PROTOCOLS, ModelJudge
from rft_pipeline.rewards.settings import Reward
from rft_pipeline.strict import Strict
from rft_pipeline.trainers.settings import Training


class Campaign(Strict):
    """One use case: a model, prompts, a rubric, and how to train."""

    RUNTIME: ClassVar[frozenset[str]] = frozenset({"on_rubric_change", "schedule", "prices", "checks"})

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    description: str = ""
    seed: int = Field(default=0, ge=0)
    rounds: int = Field(default=2, ge=1, le=100)
    policy: Policy = Policy()
    prompts: Prompts
    rubric: Rubric
    anchors: str | None = None
    rollouts: Rollouts = Rollouts()
    judge: JudgeModel = JudgeModel()
    judges: dict[str, JudgeModel] = Field(default_factory=dict)
    """Further judges by name, for criteria whose `by` names one."""
    audit: Audit | None = None
    """Lets what the anchors say of each judge decide how far it trains; `audit: {}` takes all defaults."""
    alarms: Alarms | None = None
    """Watches every round for a gamed judge; `alarms: {}` watches what needs no held-out judge."""
    reward: Reward = Reward()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()
    promotion: Promotion = Promotion()
    checks: Checks = Checks()
    on_rubric_change: Literal["last_round", "all_rounds", "off"] = "last_round"
    """Which rounds an edited rubric makes again: the last, all, or none by itself."""
    schedule: Schedule | None = None
    prices: Prices = Prices()
    folder: Path = Field(exclude=True)
    """Where campaign.yaml lies; relative paths start here."""

    @model_validator(mode="after")
    def _audit_has_anchors(self) -> Self:
        if self.audit is not None and self.anchors is None:
            raise ValueError("audit: there are no anchors to audit the judges with; name their file as `anchors`")
        if self.audit is not None and not self.rubric.judged:
            raise ValueError("audit: no model judges anything; leave `audit` out")
        return self

    @model_validator(mode="after")
    def _held_out_has_names_of_its_own(self) -> Self:
        if both := sorted({each.name for each in self.held_out} & set(self.rubric.names)):
            raise ValueError(
                f"alarms.held_out: {', '.join(both)}: the rubric has a criterion of that name; choose another"
            )
        return self

    @model_validator(mode="after")
    def _judges_can_judge(self) -> Self:
        judges = self.all_judges
        for each in self.single_criteria:
            if not isinstance(each.judge, ModelJudge):
                continue
            if each.judge.by not in judges:
                raise ValueError(
                    f"criterion {each.name} is judged by {each.judge.by!r}; the judges are {', '.join(judges)}"
                )
            if judges[each.judge.by].is_served and each.judge.ENGINE != "asker":
                in_words = ", ".join(name for name, protocol in PROTOCOLS.items() if protocol.ENGINE == "asker")
                raise ValueError(
                    f"criterion {each.name}: {each.judge.protocol} reads likelihoods or weights, and "
                    f"{each.judge.by!r} is served, so that it only answers in words; use one of {in_words}, "
                    "or a judge with weights here"
                )
        return self

    @property
    def all_judges(self) -> dict[str, JudgeModel]:
        return {DEFAULT_JUDGE: self.judge, **self.judges}

    @staticmethod
    def judge_key(name: str) -> str:
        """Where campaign.yaml holds the judge of this name."""
        return name if name == DEFAULT_JUDGE else f"judges.{name}"

    @property
    def held_out(self) -> tuple[Criterion, ...]:
        """The criteria that only watch."""
        return () if self.alarms is None else self.alarms.held_out

    @property
    def evaluated(self) -> tuple[Criterion, ...]:
        """What eval reports judge by: the rubric's criteria, then those that only watch."""
        return (*self.rubric.criteria, *self.held_out)

    @property
    def single_criteria(self) -> list[Criterion]:
        """All criteria as judges are asked them: in place of a panel, its members."""
        return [each for criterion in self.evaluated for each in criterion.members or (criterion,)]

    @property
    def used_judges(self) -> dict[str, JudgeModel]:
        """Those that a criterion asks."""
        wanted = {each.judge.by for each in self.single_criteria if isinstance(each.judge, ModelJudge)}
        return {name: judge for name, judge in self.all_judges.items() if name in wanted}

    @property
    def served_judges(self) -> frozenset[str]:
        """The names of those that a server holds."""
        return frozenset(name for name, judge in self.all_judges.items() if judge.is_served)

    @cached_property
    def anchors_path(self) -> Path | None:
        return None if self.anchors is None else self.folder / self.anchors
