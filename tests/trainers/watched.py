"""A batch to train on, and a trainer whose loss is watched.

The batch: four prompts with four rollouts each. One group has no variance, one holds an unscored rollout, so 12
rollouts are replayed, 11 of them live; steps of 8 need one more group, a masked copy.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
import trl
from safetensors.torch import load_file
from trl import GRPOConfig

from rft_pipeline.campaign import Reward, Sampling, Training
from rft_pipeline.engines import GenerateRequest
from rft_pipeline.engines.transformers import TransformersEngine
from rft_pipeline.fingerprint import seed_of
from rft_pipeline.rewards.batch import make_batch
from rft_pipeline.trainers import LogStep, TrainJob, grpo, replay_trainer

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


@dataclass
class Seen:
    """What reached TRL's loss, micro-batch by micro-batch, and what was logged."""

    rollout_calls: int = 0
    losses: list[dict[str, Any]] = field(default_factory=list)
    logged: dict[int, dict[str, float]] = field(default_factory=dict)
    last: dict[str, float] = field(default_factory=dict)
    checkpoint: Path = Path()

    @property
    def rows(self) -> list[tuple[tuple[int, ...], tuple[int, ...], float, int]]:
        """(prompt tokens, completion tokens, advantage, live tokens) of every row of the first epoch."""
        found = []
        for loss in self.losses[: len(self.losses) // 2]:
            for b in range(len(loss["advantages"])):
                prompt = loss["prompt_ids"][b][loss["prompt_mask"][b].bool()].tolist()
                tokens = loss["completion_ids"][b][loss["completion_mask"][b].bool()].tolist()
                live = int((loss["completion_mask"] * loss["tool_mask"])[b].sum())
                found.append((tuple(prompt), tuple(tokens), loss["advantages"][b].item(), live))
        return found


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
        "runtime": {"micro_batch_size": 4, "device": "cpu"},
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

    class Watched(replay_trainer.ReplayTrainer):
        def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Any:
            loss = super()._compute_loss(model, inputs)  # type: ignore[no-untyped-call]
            newest = self._newest_logps
            assert newest is not None
            kept = {name: value.clone() for name, value in inputs.items() if isinstance(value, torch.Tensor)}
            seen.losses.append({**kept, "new": newest.detach().clone()})
            return loss

    class Replay(grpo.Replay):
        def __call__(self, prompts: list[str], trainer: Any) -> dict[str, list[Any]]:
            seen.rollout_calls += 1
            return super().__call__(prompts, trainer)

    job = job_of(batch, start, scratch, seen.logged.__setitem__, base, temperature, **training)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replay_trainer, "ReplayTrainer", Watched)
        patch.setattr(grpo, "Replay", Replay)
        patch.setattr(trl, "GRPOConfig", lambda **options: GRPOConfig(**{**options, "bf16": bf16}))
        seen.last = job.training.how.train(job)
    seen.checkpoint = scratch / "checkpoint"
    return seen


def assert_same_weights(one: Path, other: Path, atol: float = 0.0) -> None:
    first, second = load_file(one), load_file(other)
    assert first.keys() == second.keys()
    for name in first:
        assert torch.allclose(first[name], second[name], rtol=0, atol=atol), name
