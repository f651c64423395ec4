"""One run of a stage: its inputs, and the sampling and judging that stages share."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import polars as pl

from rft_pipeline import models
from rft_pipeline.audit.comparing import family
from rft_pipeline.audit.criterion import training_weights
from rft_pipeline.audit.numbers import noises
from rft_pipeline.audit.stored import audited_in, kept_weights
from rft_pipeline.campaign import Campaign, EngineRuntime, Sampling
from rft_pipeline.campaign.addresses import retest_judge_id, with_prompts
from rft_pipeline.campaign.rubric import Criterion
from rft_pipeline.engines import Generator, load
from rft_pipeline.engines.base import Engine
from rft_pipeline.errors import ConfigError, EngineError, GateError
from rft_pipeline.judges import ModelJudge, make_judge
from rft_pipeline.judges.retest import make_retest_judge
from rft_pipeline.progress import Progress
from rft_pipeline.rewards.group_noise import JudgeNoise
from rft_pipeline.stages.base import CHECKPOINT, Node, Payload
from rft_pipeline.stages.judge_engines import JudgeEngines
from rft_pipeline.stages.judging import judging
from rft_pipeline.stages.sampling import sample_rollouts
from rft_pipeline.store import Home, Record, judgements_table, rollouts_table
from rft_pipeline.store.rows import LABELS
from rft_pipeline.store.tables import Table
from rft_pipeline.trainers import LogStep


@dataclass(frozen=True)
class Job:
    """One run of one stage."""

    campaign: Campaign
    node: Node
    upstream: Mapping[str, Record]
    sources: Mapping[str, str]
    made_from: Payload
    """What the result is made from."""
    home: Home
    workdir: Path
    kept: Path
    """A folder that outlives a killed run of the same job; it exists only if the stage made it."""
    progress: Progress
    log_step: LogStep
    engines: JudgeEngines
    """The engines of the campaign's judges."""

    @cached_property
    def rollouts(self) -> Table:
        """The store's rollouts."""
        return rollouts_table(self.home.store)

    @cached_property
    def judgements(self) -> Table:
        """The store's judgements."""
        return judgements_table(self.home.store)

    def frame(self, role: str) -> pl.DataFrame:
        """The table of an upstream record."""
        record = self.upstream[role]
        return pl.read_parquet(record.path(f"{record.payload['stage']}.parquet"), glob=False)

    def write(self, frame: pl.DataFrame) -> None:
        """Write the table of this stage."""
        frame.write_parquet(self.workdir / f"{self.node.stage}.parquet")

    def weights(self) -> dict[str, float]:
        """The rubric's weights, reduced to what the audit allows. Raises `GateError` when all are 0."""
        weights, kept = self.campaign.rubric.weights(), self.kept_weights()
        if kept is None:
            return weights
        earned = training_weights(weights, kept)
        if not any(earned.values()):
            raise GateError(
                f"{self.node.key}: the audit lets no criterion train; `rft audit {self.campaign.name}` shows why. "
                "Fix the judges, label more anchors, or lower the thresholds under `audit`."
            )
        return earned

    def kept_weights(self) -> dict[str, float] | None:
        """The part of its weight with which the audit lets each judge train, from 0 to 1; None without an audit."""
        if "judge_audit" not in self.upstream:
            return None
        return kept_weights(self.upstream["judge_audit"])

    def noise(self) -> dict[str, JudgeNoise] | None:
        """The noise of the judges that train, by criterion; None without `audit.by_group`."""
        if self.campaign.audit is None or not self.campaign.audit.by_group:
            return None
        weights = self.weights()
        return {name: each for name, each in noises(audited_in(self.upstream["judge_audit"])).items() if weights[name]}

    @property
    def reply_column(self) -> str:
        """The column with the policy's reply: a served policy returns no tokens."""
        return "completion" if self.campaign.policy.is_served else "tokens"

    @property
    def title(self) -> str:
        """The campaign's name, as pages show it."""
        return self.campaign.name.replace("_", " ").capitalize()

    def labels(self) -> pl.DataFrame:
        """People's labels, a row a label."""
        return self.frame("labels") if "labels" in self.upstream else LABELS.to_frame()

    def families(self, criterion: Criterion) -> frozenset[str]:
        """The model families of a criterion's judges."""
        judges = [each.judge for each in criterion.singles]
        names = (self.campaign.all_judges[judge.by].model for judge in judges if isinstance(judge, ModelJudge))
        return frozenset(family(models.EMBEDDED_FOLDER if name == models.EMBEDDED else name) for name in names)

    def policy_folder(self, role: str) -> Path:
        """The folder of an upstream record's weights. Raises `ConfigError` for a served policy."""
        record = self.upstream[role]
        if record.payload["stage"] == "policy":
            if self.campaign.policy.is_served:
                raise ConfigError(
                    f"{self.node.key}: policy.model {self.campaign.policy.model} has no weights here to train: stages "
                    "after reward_batches cannot use a served policy; name an installed model as policy.model"
                )
            if (checkpoint := record.upstream.get(CHECKPOINT)) is not None:
                return models.promoted(checkpoint, record.content_hash, self.home.models).folder
            return models.resolve(record.payload["settings"]["model"], self.home.models, self.campaign.folder).folder
        return record.path("checkpoint")

    def generator(self, role: str, runtime: EngineRuntime) -> Generator:
        """The engine that samples from the policy in `role`."""
        policy = self.campaign.policy
        if policy.server is not None and self.upstream[role].payload["stage"] == "policy":
            return load.load_server(policy.model, policy.server, "policy")
        return self.load_policy(role, runtime)

    def load_policy(self, role: str, runtime: EngineRuntime) -> Engine:
        """Load an upstream record's weights.

        Raises `ModelError` when their folder now holds other weights: their results would be stored as the record's.
        """
        record = self.upstream[role]
        engine = load.load_engine(self.policy_folder(role), runtime)
        try:
            if record.payload["stage"] == "policy" and CHECKPOINT not in record.upstream:
                name = record.payload["settings"]["model"]
                now = models.identify(name, self.home.models, self.campaign.folder)
                models.refuse_changed(name, record.content_hash, now)
        except BaseException:
            engine.close()
            raise
        return engine

    def sample(
        self, prompts: pl.DataFrame, role: str, count: int, sampling: Sampling, runtime: EngineRuntime
    ) -> tuple[pl.DataFrame, int]:
        """Rollouts of the policy in `role`, with their prompts' messages and fields; and how many were made."""
        with ExitStack() as engines:
            return self.sample_from(
                self.upstream[role].content_hash,
                lambda: engines.enter_context(closing(self.generator(role, runtime))),
                prompts,
                count,
                sampling,
            )

    def sample_from(
        self, policy: str, engine: Callable[[], Generator], prompts: pl.DataFrame, count: int, sampling: Sampling
    ) -> tuple[pl.DataFrame, int]:
        """The same for the policy with this identity; `engine` is called only when rollouts are missing."""
        rows, made = sample_rollouts(
            prompts=prompts,
            policy=policy,
            group_size=count,
            sampling=sampling,
            system=self.campaign.policy.system,
            seed=self.campaign.seed,
            table=self.rollouts,
            engine=engine,
            progress=self.progress,
            system_in=self.campaign.policy.system_in,
            thinking=self.campaign.policy.thinking,
        )
        return with_prompts(rows, prompts), made

    def judge(
        self, rollouts: pl.DataFrame, criteria: Sequence[Criterion] | None = None, *, retest: bool = False
    ) -> tuple[pl.DataFrame, dict[str, int]]:
        """Judgements of rollouts (with their prompts) by `criteria`, by default all; and how many were made, by
        criterion. A `retest` judges again, at addresses of its own."""
        scores, made = self.judge_rows(rollouts, criteria, retest=retest)
        self.refuse_failures(scores)
        return scores, made

    def judge_rows(
        self, rollouts: pl.DataFrame, criteria: Sequence[Criterion] | None = None, *, retest: bool = False
    ) -> tuple[pl.DataFrame, dict[str, int]]:
        """The same for any number of failed judgements."""
        with self.judging(rollouts, criteria, retest=retest) as judged:
            return judged()

    def judging(
        self, rollouts: pl.DataFrame, criteria: Sequence[Criterion] | None = None, *, retest: bool = False
    ) -> AbstractContextManager[Callable[[], tuple[pl.DataFrame, dict[str, int]]]]:
        """The same in two parts: in the context served judges answer, and the function returns all judgements."""
        criteria = self.campaign.rubric.criteria if criteria is None else criteria
        return judging(
            rollouts=rollouts,
            criteria=sorted(criteria, key=lambda criterion: criterion.name),
            judges={name: retest_judge_id(judge) if retest else judge for name, judge in self.sources.items()},
            table=self.judgements,
            engines=self.engines,
            progress=self.progress,
            make=make_retest_judge if retest else make_judge,
            served=self.campaign.served_judges,
        )

    def refuse_failures(self, scores: pl.DataFrame) -> None:
        """Raise `EngineError` when more judgements failed than `checks.max_unscored_share` allows."""
        failed, most = scores.filter(status="failed").height, self.campaign.checks.max_unscored_share
        if failed > most * scores.height:
            reason = scores.filter(status="failed")["reason"][0]
            raise EngineError(
                f"{self.node.key}: {failed} of {scores.height} judgements failed ({reason}); "
                f"checks.max_unscored_share allows a share of {most:g}. The others are kept: run again for the rest."
            )
