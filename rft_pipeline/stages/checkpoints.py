"""The stage `checkpoints`: the policy trained on a round's reward batch."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from rft_pipeline import models
from rft_pipeline.campaign import Campaign, Sampling, Training
from rft_pipeline.errors import GateError
from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.progress import Progress
from rft_pipeline.stages.base import MlflowRun, Node, Output, Sources, Stage, Upstream, how_trained, policy_role
from rft_pipeline.stages.counting import Counting
from rft_pipeline.stages.job import Job
from rft_pipeline.stages.replaying import count_replayed
from rft_pipeline.stages.reward_batches import too_few_groups
from rft_pipeline.store import Record, RecordStore
from rft_pipeline.store.records import STEPS
from rft_pipeline.trainers import LogStep, TrainJob
from rft_pipeline.trainers.examples import COLUMNS, PREFERRED
from rft_pipeline.trainers.kept import steps_done

if TYPE_CHECKING:
    from rft_pipeline.stages.round_made import RoundMade


class Checkpoints(Stage):
    """Train the policy on a round's reward batch: safetensors, full weights or a LoRA adapter."""

    name = "checkpoints"
    description = "The policy trained on the round's batch: safetensors, full weights or a LoRA adapter."
    version = 6
    loads = frozenset({"training"})
    in_generations = True
    counted = "steps"

    def upstream(self, campaign: Campaign, round_: int) -> dict[str, str]:
        policy = policy_role(campaign, round_)
        return {"base": "policy", "policy": policy, "reward_batches": f"round_{round_}/reward_batches"}

    def settings(self, campaign: Campaign, node: Node) -> dict[str, Any]:
        return {**how_trained(campaign), "seed": campaign.seed}

    def inputs(self, campaign: Campaign, node: Node, upstream: Upstream, sources: Sources) -> dict[str, str]:
        batch, how = upstream["reward_batches"], campaign.training.how
        inputs = {"policy": upstream["policy"].content_hash, "reward_batches": batch.content_hash}
        if how.uses_base(campaign.training):
            inputs["base"] = upstream["base"].content_hash
        return inputs | {part: batch.parts[part] for part in how.parts if part in batch.parts}

    def run(self, job: Job) -> Output:
        start, base = job.policy_folder("policy"), job.policy_folder("base")
        batch = job.upstream["reward_batches"]
        if refusal := too_few_groups(batch.rows, job.campaign):
            raise GateError(f"{batch.key}: {refusal}")
        return make_checkpoint(
            job,
            start,
            base,
            job.frame("reward_batches"),
            job.campaign.rubric.weights(),
            job.campaign.training,
            {"rollouts": batch.rows["rollouts"]},
        )

    def of_generations(self, job: Job, made: "RoundMade") -> Output:
        metrics = made.finish(job.workdir)
        return Output(
            content_hash=models.content_hash(job.workdir / "checkpoint"),
            rows={"steps": made.steps, "rollouts": made.rollouts.height, "generations": len(made.generations)},
            metrics=metrics,
        )

    def count(self, counting: Counting) -> None:
        """Steps that a killed run saved are not trained again."""
        how, batch = counting.campaign.rollouts, counting.known.get("reward_batches")
        training = counting.campaign.training.from_folder(counting.campaign.folder)
        if (round_ := counting.generations()) is not None:
            counting.work.add("steps", round_.steps - round_.steps_made, round_.steps_made)
            return
        if batch is None:
            replayed = count_replayed(counting.campaign, counting.prompts("train"))
            most = (how.prompts_per_round, how.group_size) if replayed is None else (replayed, 1)
            steps = training.how.most_steps(training, *most)
            counting.work.add("steps", steps)
            if training.how.needs_differences and steps > 1:
                counting.work.fewer["steps"] = steps - 1  # groups without variance are left out
            return
        stored = pl.scan_parquet(batch.path("reward_batches.parquet"), glob=False)
        people = [PREFERRED] if PREFERRED in stored.collect_schema() else []
        rows = stored.select(*COLUMNS, *people).collect()
        try:
            steps = training.how.steps(rows, training, counting.campaign.rubric.weights())
        except GateError as error:
            counting.work.refusal = str(error)
            return
        done = min(steps, steps_made(self, counting, training))
        counting.work.add("steps", steps - done, done)

    def track(self, record: Record, run: MlflowRun) -> None:
        run.checkpoint(record)


def steps_made(stage: Stage, counting: Counting, training: Training) -> int:
    """The steps that a killed run of a stage has saved."""
    if not counting.node.upstream.keys() <= counting.known.keys():
        return 0
    made_from = stage.made_from(counting.campaign, counting.node, counting.known, counting.sources)
    return steps_done(RecordStore(counting.home.store).kept(counting.node.key, fingerprint(made_from)), training)


def make_checkpoint(
    job: Job,
    start: Path,
    base: Path,
    batch: pl.DataFrame,
    weights: Mapping[str, float],
    training: Training,
    rows: Mapping[str, int],
) -> Output:
    """Train from `start` and write the checkpoint; `rows` are the record's numbers besides its steps."""
    metrics = train_checkpoint(
        start=start,
        base=base,
        batch=batch,
        weights=weights,
        training=training.from_folder(job.campaign.folder),
        sampling=job.campaign.rollouts.sampling,
        seed=job.campaign.seed,
        workdir=job.workdir,
        kept=job.kept,
        log_step=job.log_step,
        progress=job.progress,
    )
    return Output(
        content_hash=models.content_hash(job.workdir / "checkpoint"),
        rows={"steps": int(metrics.pop("steps")), **rows},
        metrics=metrics,
    )


def train_checkpoint(
    start: Path,
    base: Path,
    batch: pl.DataFrame,
    weights: Mapping[str, float],
    training: Training,
    sampling: Sampling,
    seed: int,
    workdir: Path,
    kept: Path,
    log_step: LogStep,
    progress: Progress,
) -> dict[str, float]:
    """Write `checkpoint/` (safetensors, tokenizer) and `steps.jsonl` into `workdir`.

    `start` is the policy that sampled the batch with `sampling`, `base` the campaign's base model, `weights` the
    rubric's weights. Training is resumed from what a killed run left in `kept`. Returns the last step's metrics and
    `steps`. Raises `GateError` when there is nothing to learn from the batch.
    """
    from rft_pipeline.trainers.launching import train_launched

    lines: list[str] = []

    def on_step(step: int, metrics: dict[str, float]) -> None:
        lines.append(json.dumps({"step": step, **metrics}))
        log_step(step, metrics)
        progress.advance(step > before)

    job = TrainJob(start, base, batch, weights, training, sampling, seed, workdir, kept, on_step)
    train = training.how.train if training.runtime.processes == 1 else train_launched
    before = steps_done(kept, training)
    with progress.counting("steps", training.how.steps(batch, training, weights) - before):
        last = train(job)
    (workdir / STEPS).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {**last, "steps": len(lines)}
