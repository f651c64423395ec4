"""A campaign: all settings of one use case."""

from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from rft_pipeline.campaign.alarms import Alarms
from rft_pipeline.campaign.audit import Audit
from rft_pipeline.campaign.continuation import BASE, Continuation
from rft_pipeline.campaign.generations import Generations, share_out
from rft_pipeline.campaign.promotion_bounds import Promotion
from rft_pipeline.campaign.prompts import Evaluation, Prompts, Rollouts
from rft_pipeline.campaign.rubric import Criterion, Rubric
from rft_pipeline.campaign.running import Checks, Feedback, Prices, Schedule
from rft_pipeline.campaign.serving import JudgeModel, Policy
from rft_pipeline.judges import DEFAULT_JUDGE, PROTOCOLS, ModelJudge
from rft_pipeline.rewards.settings import Reward
from rft_pipeline.strict import NAME, Spelled, Strict, did_you_mean
from rft_pipeline.trainers.settings import Training

OWNER = Spelled(r"([^@\s]+@[^@\s]+\.[^@\s]+|team:\w+)", "an e-mail address, or team:NAME")


class Campaign(Strict):
    """One use case: a model, prompts, a rubric, and how to train."""

    RUNTIME: ClassVar[frozenset[str]] = frozenset(
        {"on_rubric_change", "feedback", "schedule", "prices", "checks", "owners"}
    )

    name: Annotated[str, NAME]
    """The folder's name."""
    description: str = ""
    """What the campaign is for, in a sentence."""
    seed: int = Field(default=0, ge=0)
    """Of every random choice: drawn prompts, sampling, order, bootstrap."""
    rounds: int = Field(default=2, ge=1, le=100)
    """Each round samples, judges, trains and is evaluated."""
    policy: Policy = Policy()
    prompts: Prompts
    rubric: Rubric
    """The file of the rubric."""
    anchors: str | None = None
    """A file of labelled replies that measure the judges."""
    feedback: Feedback | None = None
    """Feedback of users in interaction logs, which the audit compares with the judges."""
    rollouts: Rollouts = Rollouts()
    judge: JudgeModel = JudgeModel()
    judges: dict[str, JudgeModel] = Field(default_factory=dict)
    """More judges by name; a criterion selects one with `by`."""
    audit: Audit | None = None
    """Compares each judge with the anchors and sets how far it trains; `audit: {}` takes all defaults."""
    alarms: Alarms | None = None
    """Checks every round for a gamed judge; `alarms: {}` enables the checks that need no judge of the alarms."""
    reward: Reward = Reward()
    training: Training = Training()
    evaluation: Evaluation = Field(default=Evaluation(), validate_default=True)
    promotion: Promotion = Promotion()
    checks: Checks = Checks()
    on_rubric_change: Literal["continue", "redo", "off"] = "continue"
    """What is trained after an edit of the rubric, of labels, judges or reward settings. `continue`: a few generations
    from the champion or the last checkpoint (where a round is sampled at once: the last round again). `redo`: all
    rounds again. `off`: nothing."""
    schedule: Schedule | None = None
    owners: tuple[Annotated[str, OWNER], ...] = ()
    """Who answers for the campaign, as Dagster shows it: e-mail addresses, or `team:NAME`."""
    prices: Prices = Prices()
    folder: Path = Field(exclude=True)
    """The folder of campaign.yaml; relative paths start here."""
    continuation: Continuation | None = Field(default=None, exclude=True)
    """What an edit cycle continues; set by `cycles.in_cycle`, never in campaign.yaml."""
    policy_called: str = Field(default=BASE, exclude=True)
    """What people call the model in `policy`: `base`, or `start` in a cycle, which starts from trained weights; set by
    `cycles.in_cycle`."""

    @field_validator("evaluation")
    @classmethod
    def _evaluation_samples_as_rollouts(cls, evaluation: Evaluation, info: ValidationInfo) -> Evaluation:
        rollouts = info.data.get("rollouts")  # missing if it is wrong itself
        return evaluation if rollouts is None else evaluation.completed(rollouts.sampling)

    @field_validator("judges", mode="before")
    @classmethod
    def _judges_have_names(cls, judges: Any) -> Any:
        if isinstance(judges, dict) and (keys := [each for each in judges if each in JudgeModel.model_fields]):
            raise ValueError(
                f"has judges by name, and {', '.join(keys)} is a key of one judge (did you mean 'judge'?): write "
                "`judge: {model: …}`, or a name of your choice above the keys"
            )
        return judges

    @model_validator(mode="after")
    def _audit_has_anchors(self) -> Self:
        if self.audit is not None and self.anchors is None:
            raise ValueError("audit: no anchors to audit the judges with; set `anchors` to their file")
        if self.audit is not None and not self.rubric.judged:
            raise ValueError("audit: no criterion has a model as judge; remove `audit`")
        return self

    @model_validator(mode="after")
    def _held_out_has_names_of_its_own(self) -> Self:
        if both := sorted({each.name for each in self.held_out} & set(self.rubric.names)):
            raise ValueError(
                f"alarms.held_out: {', '.join(both)}: the rubric has a criterion with this name; choose another name"
            )
        return self

    @model_validator(mode="after")
    def _accepts_of_its_criteria(self) -> Self:
        for name in self.audit.accept if self.audit is not None else ():
            if name not in self.rubric.names:
                hint = did_you_mean(name, self.rubric.names)
                raise ValueError(
                    f"audit.accept: the rubric has no criterion {name!r}{hint}; it has: {', '.join(self.rubric.names)}"
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
                    f'criterion "{each.name}": by: {each.judge.by!r} is no judge{did_you_mean(each.judge.by, judges)}; '
                    f"the judges of campaign.yaml are: {', '.join(judges)}; to add one, write there "
                    f"judges: {{{each.judge.by}: {{model: …}}}}"
                )
            if judges[each.judge.by].is_served and each.judge.ENGINE != "asker":
                in_words = ", ".join(name for name, protocol in PROTOCOLS.items() if protocol.ENGINE == "asker")
                raise ValueError(
                    f"criterion {each.name}: {each.judge.protocol} reads likelihoods or weights, but "
                    f"{each.judge.by!r} is served and only answers in words; use one of {in_words}, "
                    "or a judge with local weights"
                )
        return self

    @model_validator(mode="after")
    def _generations_fill_the_round(self) -> Self:
        _ = self.generations  # raises
        return self

    @model_validator(mode="after")
    def _refill_applies(self) -> Self:
        if self.rollouts.refill and (why := self._why_not_refilled()):
            raise ValueError(
                f"rollouts.refill: {self.rollouts.refill} does not apply: {why}; set refill to 0, or use grpo or raft "
                "with steps_per_generation and without generations_ahead"
            )
        return self

    @model_validator(mode="after")
    def _replay_applies(self) -> Self:
        if self.rollouts.replay is None:
            return self
        training, sampling = self.training, self.rollouts.sampling
        needed = {
            "rounds: 1": self.rounds == 1,
            "training.steps_per_generation: null": training.steps_per_generation is None,
            "training.method: grpo, raft or sft": training.method != "dpo",
            "training.mask_thinking: false": not training.mask_thinking,
            "rollouts.sampling.temperature: 1": sampling.temperature == 1,
            "rollouts.refill: 0": not self.rollouts.refill,
            "a policy with weights here": not self.policy.is_served,
            "no schedule.retrain": self.schedule is None or self.schedule.retrain is None,
        }
        if missing := [need for need, given in needed.items() if not given]:
            raise ValueError(f"rollouts.replay: stored rollouts are trained on in one round; set {', '.join(missing)}")
        return self

    def _why_not_refilled(self) -> str:
        if self.training.generations_ahead:
            return "with training.generations_ahead the next generation is sampled before the groups are judged"
        if self.generations is None:
            return self.training.how.why_not_in_generations or "the round is sampled at once, before a group is judged"
        return ""

    @property
    def generations(self) -> Generations | None:
        """How the round's prompts are shared out among its generations; None where it is sampled at once."""
        steps, step, how = self.training.steps_per_generation, self.training.batch_size, self.rollouts
        if steps is None or self.policy.is_served or step > how.prompts_per_round * how.group_size:
            return None
        return share_out(how.prompts_per_round, how.group_size, step, steps)

    @property
    def all_judges(self) -> dict[str, JudgeModel]:
        return {DEFAULT_JUDGE: self.judge, **self.judges}

    @staticmethod
    def judge_key(name: str) -> str:
        """The key of this judge in campaign.yaml."""
        return name if name == DEFAULT_JUDGE else f"judges.{name}"

    @property
    def held_out(self) -> tuple[Criterion, ...]:
        """The criteria that are judged in eval reports but never train."""
        return () if self.alarms is None else self.alarms.held_out

    @property
    def evaluated(self) -> tuple[Criterion, ...]:
        """The criteria of eval reports: those of the rubric, then the held-out ones."""
        return (*self.rubric.criteria, *self.held_out)

    @property
    def single_criteria(self) -> list[Criterion]:
        """All criteria, with each panel replaced by its members."""
        return [each for criterion in self.evaluated for each in criterion.singles]

    def criteria_of(self, judge: str) -> list[Criterion]:
        """The criteria of a judge, including members of panels."""
        return [each for each in self.single_criteria if isinstance(each.judge, ModelJudge) and each.judge.by == judge]

    @property
    def used_judges(self) -> dict[str, JudgeModel]:
        """The judges that at least one criterion uses."""
        wanted = {each.judge.by for each in self.single_criteria if isinstance(each.judge, ModelJudge)}
        return {name: judge for name, judge in self.all_judges.items() if name in wanted}

    @property
    def served_judges(self) -> frozenset[str]:
        """The names of those that a server holds."""
        return frozenset(name for name, judge in self.all_judges.items() if judge.is_served)

    @cached_property
    def anchors_path(self) -> Path | None:
        return None if self.anchors is None else self.folder / self.anchors
