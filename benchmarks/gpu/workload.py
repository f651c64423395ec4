"""The work that is measured: groups of replies to random prompts, the engine that samples them, and the learner that
trains on them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from benchmarks.gpu.models import texts
from benchmarks.gpu.shapes import Shape
from rft_pipeline.engines.base import Completion, GenerateRequest
from rft_pipeline.engines.transformers import TransformersEngine
from rft_pipeline.engines.weights import load_weights
from rft_pipeline.trainers.learner import Learner
from rft_pipeline.trainers.rows import TrainingRow


@dataclass(frozen=True)
class Work:
    """How much is sampled and trained on."""

    shape: Shape
    prompts: int
    group: int
    """Replies a prompt."""
    prompt: int
    """Tokens of a prompt."""
    reply: int
    """Tokens of a reply at most; a random model hardly ever ends one earlier."""
    micro_batch_size: int

    @property
    def rows(self) -> int:
        return self.prompts * self.group


# The settings below stand for the pydantic models of campaign.yaml, which a bare machine cannot import.


@dataclass(frozen=True)
class Sampling:
    """`rollouts.sampling`."""

    max_new_tokens: int
    max_thinking_tokens: int | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0

    @property
    def budget(self) -> int:
        return self.max_new_tokens


@dataclass(frozen=True)
class Runtime:
    """`rollouts.runtime` and `training.runtime`."""

    batch_size: int = 64
    micro_batch_size: int = 16
    packing: str = "auto"
    dtype: str = "auto"
    device: str = "auto"


@dataclass(frozen=True)
class Training:
    """`training`."""

    batch_size: int
    runtime: Runtime = field(default_factory=Runtime)
    method: str = "grpo"
    weights: str = "full"
    learning_rate: float = 1e-5
    max_grad_norm: float = 1.0
    loss_type: str = "dapo"
    clip_low: float = 0.2
    clip_high: float = 0.28
    kl_beta: float = 0.0
    max_negative_ratio: float | None = None


def load_engine(folder: Path, work: Work, dtype: str, device: str) -> TransformersEngine:
    runtime: Any = Runtime(batch_size=work.rows, dtype=dtype, device=device)
    return TransformersEngine(folder, runtime)


def load_learner(folder: Path, work: Work, dtype: str, device: str, packing: str) -> Learner:
    """A learner of all weights, as a session makes it."""
    runtime = Runtime(micro_batch_size=work.micro_batch_size, packing=packing, dtype=dtype, device=device)
    training: Any = Training(batch_size=work.rows, runtime=runtime)
    AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = Accelerator(cpu=device == "cpu", mixed_precision="no")
    model = load_weights(folder, "float32", device)
    return Learner(model, accelerator, training, 1.0, work.reply, getattr(torch, dtype))


def sample(engine: TransformersEngine, work: Work) -> list[Completion]:
    """The replies of all groups, in order."""
    requests = [
        GenerateRequest(f"{number:04d}/{index:04d}", (("user", text),), seed=number * work.group + index)
        for number, text in enumerate(texts(work.shape, work.prompts, work.prompt))
        for index in range(work.group)
    ]
    sampling: Any = Sampling(work.reply)
    done = [completion for batch in engine.generate(requests, sampling) for completion in batch]
    return sorted(done, key=lambda completion: completion.request_id)


def rows_of(replies: Sequence[Completion], spread: float) -> list[TrainingRow]:
    """Rows with advantages 1 and −1 by turns. Their old log-probs are the engine's, moved at random by up to `spread`
    nats: with the policy's own, the loss of a first step would not depend on its log-probs."""
    draw = torch.Generator().manual_seed(2)

    def moved(logprobs: Sequence[float]) -> list[float]:
        noise = torch.rand(len(logprobs), generator=draw, dtype=torch.float64) * 2 - 1
        return (torch.tensor(logprobs, dtype=torch.float64) + spread * noise).tolist()

    return [
        TrainingRow(
            group=done.request_id.partition("/")[0],
            prompt_tokens=done.prompt_tokens,
            tokens=done.tokens_T,
            logprobs=done.logprobs_T,
            advantage=(-1.0) ** number,
            live=True,
            old_logprobs=moved(done.logprobs_T),
        )
        for number, done in enumerate(replies)
    ]
