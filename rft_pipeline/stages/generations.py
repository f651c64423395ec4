"""A round in generations: each is sampled from the policy as it then is, judged, and trained on.

A generation's rollouts are addressed by its policy: the start policy with everything that was trained on since. So a
round that was killed finds its rows again, and the trainer goes on from its last saved state.
"""

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import polars as pl

from rft_pipeline.engines.memory import return_freed
from rft_pipeline.errors import GateError, StoreError
from rft_pipeline.files import replace_text
from rft_pipeline.progress import duration
from rft_pipeline.stages.counting import SCORES
from rft_pipeline.stages.generation_parts import (
    OLD_LOGPROBS,
    joined,
    note_sampling,
    policy_after,
    prompts_of_generations,
    replace_table,
    stored_generations,
)
from rft_pipeline.stages.job import Job
from rft_pipeline.stages.refilling import Refill
from rft_pipeline.stages.reward_batches import groups_in, make_reward_batch, too_few_groups
from rft_pipeline.stages.round_made import GAP, REFILLED, RoundMade, means_of, numbers_of
from rft_pipeline.trainers import TrainJob
from rft_pipeline.trainers.rows import TrainingRow, plan_steps

if TYPE_CHECKING:
    from rft_pipeline.engines.base import Engine

LEAST_SHARE = 0.8
"""The least effective share of a stored generation that is trained on, unless `training.min_effective_share` is set."""
ENOUGH = 4
"""The share of groups with variance is checked once this part (1/4) of the round is made."""


def make_round(job: Job) -> RoundMade:
    """Sample, judge and train one generation after another.

    Raises `GateError` when there is too little to learn from, `EngineError` when too many judgements failed; rows that
    were made until then stay.
    """
    with ExitStack() as engines:
        loop = _Loop(job, engines)
        stored, parts = stored_generations(job), list(prompts_of_generations(job))
        try:
            loop.all_of(stored, parts)
        except BaseException:
            loop.session.close()
            raise
        return loop.made()


@dataclass
class _Loop:
    """The state between generations."""

    job: Job
    engines: ExitStack
    policy: str = ""
    engine: "Engine | None" = None
    trained_on: int = 0
    """Generations that made `policy`."""
    engine_at: int = -1
    """Generations that made the engine's policy; -1 while its weights are not the session's."""
    sampled: int = 0
    judged: dict[str, int] = field(default_factory=dict)
    rollouts: list[pl.DataFrame] = field(default_factory=list)
    scores: list[pl.DataFrame] = field(default_factory=list)
    batches: list[pl.DataFrame] = field(default_factory=list)
    logprobs: list[pl.DataFrame] = field(default_factory=list)
    numbers: list[dict[str, Any]] = field(default_factory=list)
    lines: dict[int, dict[str, Any]] = field(default_factory=dict)
    """By number of the step."""
    steps: list[int] = field(default_factory=list)
    """Steps of each generation."""
    began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        from rft_pipeline.trainers.launched_session import open_session

        campaign = self.job.campaign
        self.policy = self.job.upstream["policy"].content_hash
        self.trained: dict[str, Any] = self.job.made_from["settings"]["training"]
        self.job.kept.mkdir(parents=True, exist_ok=True)
        self.refill = Refill(self.job)
        self.session = open_session(
            TrainJob(
                start=self.job.policy_folder("policy"),
                base=self.job.policy_folder("base"),
                batch=pl.DataFrame(),
                weights=campaign.rubric.weights(),
                training=campaign.training.from_folder(campaign.folder),
                sampling=campaign.rollouts.sampling,
                seed=campaign.seed,
                scratch=self.job.workdir,
                kept=self.job.kept,
                log_step=self._log_step,
            )
        )

    def all_of(self, stored: list[pl.DataFrame], parts: list[pl.DataFrame]) -> None:
        """Make the generations: stored ones while they are near enough, then one for each part of the prompts."""
        count, number = len(stored) + len(parts), 1
        for rows in stored:
            if not self.take(number, count, rows):
                count = number - 1 + len(parts)
                break
            number += 1
        self.new(number, count, parts)

    def take(self, number: int, count: int, rows: pl.DataFrame) -> bool:
        """Train on a stored generation, unless its policy is too far from the policy as it is."""
        self.job.progress.within = "a stored generation, if it is near enough to the policy"
        rows = rows.with_columns(pl.lit(number).alias("generation"))
        decided = self.job.kept / f"taken-{number}"
        if not decided.is_file():
            share = self.session.effective_share(
                self._rows(make_reward_batch(self.job, rows, self._judge(SCORES.format(number), rows)))
            )
            least = self.job.campaign.training.min_effective_share or LEAST_SHARE
            if share < least:
                (self.job.kept / SCORES.format(number)).unlink()  # the next generation gets this number
            replace_text(decided, json.dumps(share >= least))
        if not json.loads(decided.read_text(encoding="utf-8")):
            return False
        self.job.progress.within = self._where(number, count)
        self._finish(number, count, rows, self._judge(SCORES.format(number), rows))
        return True

    def new(self, first: int, count: int, parts: list[pl.DataFrame]) -> None:
        """Sample, judge and train on a generation for each part of the prompts; the first one has the number `first`.

        With `training.generations_ahead`, a generation is sampled while the one before it is judged.
        """
        ahead: pl.DataFrame | None = None
        for place, prompts in enumerate(parts):
            number = first + place
            self.job.progress.within = self._where(number, count)
            rows = self._sample(number, prompts) if ahead is None else ahead
            with self._judging(SCORES.format(number), rows) as judged:
                follows = self.job.campaign.training.generations_ahead and place + 1 < len(parts)
                ahead = self._sample_ahead(number + 1, parts[place + 1]) if follows else None
                scores = judged()
            sample, judge = partial(self._sample, number), partial(self._judge_further, number)
            rows, scores = self.refill.fill(rows, scores, sample, judge)
            self._finish(number, count, rows, scores)

    def _finish(self, number: int, count: int, rows: pl.DataFrame, scores: pl.DataFrame) -> None:
        """Train on a generation's rollouts."""
        batch = make_reward_batch(self.job, rows, scores)
        for found, part in ((self.rollouts, rows), (self.scores, scores), (self.batches, batch)):
            found.append(part)
        self._refuse(number, count)
        taken = {REFILLED: self.refill.taken[-1]} if self.refill.taken else {}
        self.numbers.append({"generation": number, **numbers_of(rows, scores, batch), **taken})
        self._train(number, batch)
        self.policy, self.trained_on = policy_after(self.policy, batch, self.trained), number
        return_freed()

    def made(self) -> RoundMade:
        lines = iter({"step": step, **line} for step, line in sorted(self.lines.items()))
        made = [(numbers, list(islice(lines, count))) for numbers, count in zip(self.numbers, self.steps, strict=True)]
        return RoundMade(
            session=self.session,
            rollouts=joined(self.rollouts),
            scores=pl.concat(self.scores),
            batch=joined(self.batches),
            sampled=self.sampled,
            judged=self.judged,
            generations=[{**numbers, **means_of(lines)} for numbers, lines in made],
            logprobs=pl.concat(self.logprobs),
            lines=[{**numbers, **line} for numbers, lines in made for line in lines],
        )

    def _sample(self, number: int, prompts: pl.DataFrame) -> pl.DataFrame:
        how = self.job.campaign.rollouts
        note_sampling(self.job.kept, number, self.policy, prompts)
        rows, made = self.job.sample_from(self.policy, self._engine, prompts, how.group_size, how.sampling)
        self.sampled += made
        return rows.with_columns(pl.lit(number).alias("generation"))

    def _sample_ahead(self, number: int, prompts: pl.DataFrame) -> pl.DataFrame:
        """Sample before the policy is trained on the generation before; with the trainer's log-probs under the policy
        as it is. They are kept: after a kill this policy may be gone."""
        rows, kept = self._sample(number, prompts), self.job.kept / f"ahead-{number}"
        if not kept.is_file():
            plain = [
                TrainingRow(each["prompt_id"], each["prompt_tokens"], each["tokens"], [], advantage=0.0, live=True)
                for each in rows.iter_rows(named=True)
            ]
            known = {"rollout_id": rows["rollout_id"], "old_logprobs": self.session.log_probs(plain)}
            replace_table(kept, pl.DataFrame(known, schema=OLD_LOGPROBS))
        return rows.join(pl.read_parquet(kept, glob=False), on="rollout_id", how="left", maintain_order="left")

    def _engine(self) -> "Engine":
        """The engine with the weights of the policy as it is.

        Raises `StoreError` after a kill if rollouts of a generation that the state was trained on are gone: their
        policy is gone too."""
        if self.trained_on < self.session.generations_done:
            raise StoreError(
                f"{self.job.node.key}: rollouts of generation {self.trained_on + 1} are gone, and its policy too; "
                f"remove {self.job.kept} and run again"
            )
        if self.engine is None:
            runtime = self.job.campaign.rollouts.runtime
            self.engine = self.engines.enter_context(closing(self.job.load_policy("policy", runtime)))
        if self.engine_at != self.trained_on:
            self.engine.take_weights(self.session.weights())
            self.engine_at = self.trained_on
        return self.engine

    def _judge(self, file: str, rows: pl.DataFrame) -> pl.DataFrame:
        with self._judging(file, rows) as judged:
            return judged()

    def _judge_further(self, number: int, part: int, rows: pl.DataFrame) -> pl.DataFrame:
        return self._judge(f"refill-{number}-{part}.parquet", rows)

    @contextmanager
    def _judging(self, file: str, rows: pl.DataFrame) -> Iterator[Callable[[], pl.DataFrame]]:
        """Judgements, as the result of the function, kept in a file; served judges answer within the context.

        A judgement that failed stays so if the round is made again after a kill: the policy was already trained
        without it."""
        kept = self.job.kept / file
        if kept.is_file():
            yield lambda: pl.read_parquet(kept, glob=False)
            return
        with self.job.judging(rows) as judged:

            def keep() -> pl.DataFrame:
                scores, made = judged()
                for name, count in made.items():
                    self.judged[name] = self.judged.get(name, 0) + count
                replace_table(kept, scores)
                return scores

            yield keep

    def _refuse(self, number: int, count: int) -> None:
        """Raise if the round as it is so far cannot be trained on."""
        if number * ENOUGH < count:
            return
        self.job.refuse_failures(pl.concat(self.scores))
        counts = {**groups_in(joined(self.batches)), REFILLED: sum(self.refill.taken)}
        if refusal := too_few_groups(counts, self.job.campaign):
            raise GateError(f"{self.job.node.key}: generation {number} of {count}: {refusal}")

    def _train(self, number: int, batch: pl.DataFrame) -> None:
        logprobs, counted = (self.job.kept / f"{name}-{number}" for name in ("logprobs", "trained"))
        campaign = self.job.campaign
        if number > self.session.generations_done:
            rows = self._rows(batch)
            steps = len(plan_steps(rows, campaign.training.batch_size, campaign.training.epochs))
            with self.job.progress.counting("steps", steps):
                trained = self.session.train(rows, number)
            old = [row.old_logprobs or found for row, found in zip(rows, trained.old_logprobs, strict=True)]
            known = {"rollout_id": [row.rollout_id for row in rows], "old_logprobs": old}
            replace_table(logprobs, pl.DataFrame(known, schema=OLD_LOGPROBS))
            gaps = {name: value for name, value in trained.metrics.items() if name.startswith(GAP)}
            replace_text(counted, json.dumps({"steps": trained.steps, **gaps}))
            self.session.save()
        self.logprobs.append(pl.read_parquet(logprobs, glob=False))
        found = json.loads(counted.read_text(encoding="utf-8"))
        self.steps.append(found.pop("steps"))
        self.numbers[-1] |= found

    def _rows(self, batch: pl.DataFrame) -> list[TrainingRow]:
        campaign = self.job.campaign
        return campaign.training.how.rows(batch, campaign.training, campaign.rubric.weights(), campaign.seed)

    def _log_step(self, step: int, metrics: dict[str, float]) -> None:
        """Steps before a kill are reported when the session begins."""
        self.lines[step] = metrics
        if wrong := [name for name in ("loss", "grad_norm") if not math.isfinite(metrics.get(name, 0.0))]:
            raise GateError(f"{self.job.node.key}: step {step}: {wrong[0]} is not finite; lower training.learning_rate")
        if self.numbers:
            known = {name: value for name, value in self.numbers[-1].items() if value is not None}
            self.job.log_step(step, {**metrics, **known})
            self.job.progress.advance(1)

    def _where(self, number: int, count: int) -> str:
        """Which generation it is, the reward so far, and the time left."""
        rewards = [each["reward"] for each in self.numbers if each["reward"] is not None]
        parts = [f"generation {number} of {count}"]
        if rewards:
            seconds = (time.monotonic() - self.began) / (number - 1) * (count - number + 1)
            parts += [f"reward {rewards[-1]:.2f}", f"about {duration(math.ceil(seconds / 10) * 10)} left"]
        return ", ".join(parts)
