"""A batch to train on, and a trainer whose loss is watched.

The batch: four prompts with four rollouts each. One group has no variance, one holds an unscored rollout, so 12
rollouts are trained on, 11 of them live, in steps of 8 and 4.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from safetensors.torch import load_file

from rft_pipeline.campaign import Reward, Sampling, Training
from rft_pipeline.engines import GenerateRequest
from rft_pipeline.engines.transformers import TransformersEngine
from rft_pipeline.fingerprint import seed_of
from rft_pipeline.rewards.batch import make_batch
from rft_pipeline.trainers import LogStep, TrainJob, learner, session
from rft_pipeline.trainers.passes import Pass
from rft_pipeline.trainers.rows import TrainingRow
from rft_pipeline.trainers.scoring import ScoredTokens

ADAPTER = "adapter_model.safetensors"
MAX_NEW_TOKENS = 20
"""What the rollouts of 3 to 12 tokens could have grown to."""
FLAT, GAPPED = "flat", "gapped"
PROMPTS = {
    "lamp": ("Help with the lamp.", (0.9, 0.1, 0.4, 0.6)),
    GAPPED: ("Please help with the late parcel and the bad chair today.", (0.2, None, 0.3, 1.0)),
    FLAT: ("Yes?", (0.5, 0.5, 0.5, 0.5)),
    "desk": ("The desk is late and the price is not good.", (0.0, 0.0, 1.0, 0.0)),
}


def sampled_batch(engine: TransformersEngine) -> pl.DataFrame:
    """Rollouts of 3 to 12 tokens with their advantages."""
    requests = [
        GenerateRequest(f"{name}-{i}", (("user", text),), seed=seed_of(1, name, i))
        for name, (text, _) in PROMPTS.items()
        for i in range(4)
    ]
    rows, scores = [], []
    lengths = iter([3, 12, 7, 5] * 4)
    for drawn in engine.generate(requests, Sampling(max_new_tokens=12)):
        for done in drawn:
            name, index = done.request_id.split("-")
            length = next(lengths)
            rows.append(
                {
                    "rollout_id": done.request_id,
                    "prompt_id": name,
                    "sample_index": int(index),
                    "prompt_tokens": done.prompt_tokens,
                    "tokens": done.tokens_T[:length],
                    "logprobs": done.logprobs_T[:length],
                }
            )
            scores.append({"rollout_id": done.request_id, "criterion": "polite", "score": PROMPTS[name][1][int(index)]})
    return make_batch(pl.DataFrame(rows), pl.DataFrame(scores, strict=False), {"polite": 1.0}, {}, Reward()).rows


RUNTIME = {"micro_batch_size": 4, "device": "cpu"}


@dataclass(frozen=True)
class SeenRow:
    """One row in the loss of a step."""

    row: TrainingRow
    new: torch.Tensor
    old: torch.Tensor
    reference: torch.Tensor | None
    weight: float


@dataclass
class Seen:
    """What reached the loss, step by step, and what was logged."""

    steps: list[list[SeenRow]] = field(default_factory=list)
    passes: list[list[int]] = field(default_factory=list)
    """The rows of each pass with a gradient, in order."""
    logged: dict[int, dict[str, float]] = field(default_factory=dict)
    last: dict[str, float] = field(default_factory=dict)
    checkpoint: Path = Path()

    def live(self, step: int) -> list[SeenRow]:
        """The live rows of a step, numbered from 1."""
        return [seen for seen in self.steps[step - 1] if seen.row.live]


def job_of(
    batch: pl.DataFrame,
    start: Path,
    scratch: Path,
    log_step: LogStep,
    base: Path | None = None,
    temperature: float = 1.0,
    **training: Any,
) -> TrainJob:
    """A job of two epochs in steps of 8, unless `training` says otherwise."""
    settings = {
        "learning_rate": 1e-3,
        "batch_size": 8,
        "epochs": 2,
        "runtime": RUNTIME,
    }
    return TrainJob(
        start=start,
        base=base or start,
        batch=batch,
        weights={"polite": 1.0},
        training=Training.model_validate({**settings, **training}),
        sampling=Sampling(temperature=temperature, max_new_tokens=MAX_NEW_TOKENS),
        seed=7,
        scratch=scratch,
        kept=scratch / "kept",
        log_step=log_step,
    )


def run(
    batch: pl.DataFrame,
    start: Path,
    scratch: Path,
    base: Path | None = None,
    bf16: bool = False,
    temperature: float = 1.0,
    **training: Any,
) -> Seen:
    """Train and watch. Without autocast unless `bf16`: numbers can then be compared to the last digits."""
    seen = Seen()

    class Watched(learner.Learner):
        def backward(self, generation: learner.Generation, step: Sequence[int], steps: int) -> dict[str, float]:
            seen.steps.append([])
            return super().backward(generation, step, steps)

        def _loss(
            self, generation: learner.Generation, part: Pass, scored: ScoredTokens, weights: dict[int, float]
        ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
            new = scored.logprobs_N.detach().split(part.counts)
            for i, own in zip(part.rows, new, strict=True):
                old = generation.old(i)
                reference = generation.reference.get(i)
                seen.steps[-1].append(
                    SeenRow(generation.rows[i], own, own if old is None else old, reference, weights[i])
                )
            seen.passes.append(part.rows)
            return super()._loss(generation, part, scored, weights)

    runtime = {"dtype": "bfloat16" if bf16 else "float32", **training.pop("runtime", RUNTIME)}
    job = job_of(batch, start, scratch, seen.logged.__setitem__, base, temperature, runtime=runtime, **training)
    scratch.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "Learner", Watched)
        seen.last = job.training.how.train(job)
    seen.checkpoint = scratch / "checkpoint"
    return seen


def assert_same_weights(one: Path, other: Path, atol: float = 0.0) -> None:
    first, second = load_file(one), load_file(other)
    assert first.keys() == second.keys()
    for name in first:
        assert torch.allclose(first[name], second[name], rtol=0, atol=atol), name
