"""GRPO (Shao et al. 2024, arXiv 2402.03300) on the advantages of reward batches.

Old log-probs are the trainer's own, under the policy at the start of a generation, or those stored with a rollout of an
earlier generation or a trace. Loss: DAPO's token-level normalisation unless `loss_type` says otherwise; a KL penalty to
base or to the round's start if `kl_beta` is set. Excluded rollouts are masked; truncated ones are masked with
`mask_truncated`.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

from rft_pipeline.engines.settings import Sampling
from rft_pipeline.errors import GateError
from rft_pipeline.fingerprint import seed_of
from rft_pipeline.trainers.examples import environment, masked
from rft_pipeline.trainers.method import Method, steps_in_epochs
from rft_pipeline.trainers.rows import LOGPROBS, TrainingRow

if TYPE_CHECKING:
    from rft_pipeline.trainers.base import TrainJob
    from rft_pipeline.trainers.settings import Training


class GrpoMethod(Method):
    name = "grpo"
    own_settings = frozenset(
        {"clip_low", "clip_high", "kl_beta", "kl_to", "loss_type", "max_negative_ratio", "min_effective_share"}
    )
    unit = "rollouts"
    step_fits_round = True

    def settings(self, training: "Training", sampling: Sampling, weights: Mapping[str, float]) -> dict[str, Any]:
        """The likelihood ratio is that of the tempered distribution; `dr_grpo` divides by the longest reply allowed."""
        longest = {"max_new_tokens": training.longest(sampling)} if training.loss_type == "dr_grpo" else {}
        return {"temperature": sampling.temperature, **longest}

    def uses_base(self, training: "Training") -> bool:
        return training.kl_beta > 0 and training.kl_to == "base"

    def rows(
        self, batch: pl.DataFrame, training: "Training", weights: Mapping[str, float], seed: int
    ) -> list[TrainingRow]:
        """The rollouts of groups with variance, group by group in a seeded order."""
        marked = batch.with_columns(_live(training).alias("live")).filter(pl.col("live").any().over("prompt_id"))
        stored = "old_logprobs" in batch.columns
        rows = [
            TrainingRow(
                group=row["prompt_id"],
                prompt_tokens=row["prompt_tokens"],
                tokens=row["tokens"],
                logprobs=row["logprobs"],
                advantage=row["advantage"],
                live=row["live"],
                old_logprobs=row["old_logprobs"] if stored else None,
                rollout_id=row["rollout_id"],
                masked=masked(row, training),
                environment=environment(row),
            )
            for row in marked.sort("prompt_id", "sample_index").iter_rows(named=True)
        ]
        return sorted(rows, key=lambda row: seed_of(seed, "training order", row.group))

    def train(self, job: "TrainJob") -> dict[str, float]:
        """The whole batch as one generation. The metrics hold `logprob_gap_mean` and `logprob_gap_p99` too, the
        difference between the engine's and the trainer's log-probs, and `stopped_at_step` if `min_effective_share`
        ended the round early. Leaves `LOGPROBS` in the job's folder."""
        from accelerate import PartialState

        from rft_pipeline.trainers.session import train_at_once

        self.steps(job.batch, job.training, job.weights)  # raises if there is nothing to learn from
        rows = self.rows(job.batch, job.training, job.weights, job.seed)
        trained = train_at_once(job, rows)
        if PartialState().is_main_process:
            named = {"rollout_id": [row.rollout_id for row in rows], "old_logprobs": trained.old_logprobs}
            pl.DataFrame(named, schema_overrides={"old_logprobs": pl.List(pl.Float32)}).write_parquet(
                job.scratch / LOGPROBS
            )
        return trained.metrics

    def steps(self, batch: pl.DataFrame, training: "Training", weights: Mapping[str, float]) -> int:
        rollouts = batch.filter(_live(training).any().over("prompt_id")).height
        if not rollouts:
            cut = " apart from truncated rollouts, which training.mask_truncated leaves out"
            raise GateError(
                f"the reward batch has no group with variance{cut if training.mask_truncated else ''}: nothing to "
                "learn from"
            )
        return steps_in_epochs(rollouts, training)

    def examples_per_prompt(self, training: "Training", group_size: int) -> int:
        return group_size

    def most_steps(self, training: "Training", prompts: int, group_size: int) -> int:
        return steps_in_epochs(prompts * group_size, training)

    def warnings(self, training: "Training", sampling: Sampling, has_references: bool) -> Iterator[tuple[str, str]]:
        if sampling.top_p < 1 or sampling.top_k > 0:
            cut = [f"top_p {sampling.top_p:g}"] * (sampling.top_p < 1) + [f"top_k {sampling.top_k}"] * (
                sampling.top_k > 0
            )
            yield (
                "rollouts.sampling",
                f"{', '.join(cut)} samples from another distribution than training computes, which biases grpo's "
                "ratios; set top_p 1 and top_k 0, or use raft or dpo, which need no ratios",
            )


def _live(training: "Training") -> pl.Expr:
    """Whether a rollout counts in the loss."""
    live = pl.col("excluded").is_null()
    return live & (pl.col("finish_reason") != "length") if training.mask_truncated else live
