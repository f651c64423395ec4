"""Tokens a second of sampling and of training steps, against the device's own limits."""

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks.gpu.roofline import Peak, Roofline, measured
from benchmarks.gpu.shapes import Group, causal
from benchmarks.gpu.workload import Work, load_engine, load_learner, rows_of, sample
from rft_pipeline.engines.base import Completion
from rft_pipeline.trainers.learner import Generation, Learner
from rft_pipeline.trainers.rows import TrainingRow

SPREAD = 0.1
"""Nats by which the old log-probs of training rows are moved."""


class Speed(NamedTuple):
    """A way to work through tokens."""

    tokens: float
    """A second."""
    utilisation: float
    """Model FLOPs utilisation: the operations that the work needs, as a share of what the device can do in the time."""
    bytes: int | None
    """The most memory that was taken."""


class Sampling(NamedTuple):
    """A way to sample."""

    name: str
    speed: Speed
    of_roofline: float
    """The least possible time, divided by the time taken."""


class Step(NamedTuple):
    """A way to train. Loss and norm of the gradient are those of the first step; prompts count once for each reply."""

    name: str
    speed: Speed
    loss: float
    grad_norm: float


def sampling(
    folder: Path, work: Work, limits: Roofline, device: str, dtype: str, repeats: int
) -> tuple[list[Sampling], list[Completion]]:
    """The engine and a bare `model.generate` on the same prompts in one batch; and the engine's replies."""
    engine = load_engine(folder, work, dtype, device)
    replies = sample(engine, work)
    tokens = sum(len(done.tokens_T) for done in replies)
    ours = _timed(lambda: sample(engine, work), device, repeats)
    generated = _bare(engine, replies, work)
    bare = _timed(lambda: _bare(engine, replies, work), device, repeats)
    engine.close()
    found = []
    for name, peak, count, prompts in (
        ("engine", ours, tokens, work.prompts),
        ("bare generate", bare, generated, work.rows),
    ):
        after = causal(work.prompt + work.reply) - causal(work.prompt)
        pairs = prompts * causal(work.prompt) + work.rows * after
        operations = work.shape.forward_operations(prompts * work.prompt + count, count, pairs)
        least = limits.sampling_seconds(work, prompts, getattr(torch, dtype).itemsize)
        found.append(Sampling(name, _speed(peak, count, operations, limits), least / peak.seconds))
    return found, replies


def training(
    folder: Path, work: Work, replies: Sequence[Completion], limits: Roofline, device: str, dtype: str, repeats: int
) -> list[Step]:
    """Steps on the same rows, packed and padded."""
    rows, found = rows_of(replies, SPREAD), []
    for name, packing in (("packed", "auto"), ("padded", "off")):
        first, packs, peak = _steps(load_learner(folder, work, dtype, device, packing), rows, device, repeats)
        groups = _groups(rows)
        needed = sum(group.operations(work.shape, shared=packs) for group in groups)
        speed = _speed(peak, sum(group.tokens for group in groups), needed, limits)
        found.append(Step(name, speed, first["loss"], first["grad_norm"]))
    return found


def _steps(
    learner: Learner, rows: Sequence[TrainingRow], device: str, repeats: int
) -> tuple[dict[str, float], bool, Peak]:
    """What the first step said, whether rows were packed, and how the following steps went."""

    def step() -> dict[str, float]:
        return learner.step(Generation(rows), range(len(rows)), 1, learner.training.learning_rate)

    first = step()
    return first, learner.layout.packs, _timed(step, device, repeats)


def _groups(rows: Sequence[TrainingRow]) -> list[Group]:
    by_name: dict[str, list[TrainingRow]] = {}
    for row in rows:
        by_name.setdefault(row.group, []).append(row)
    return [Group(len(some[0].prompt_tokens), [len(row.tokens) for row in some]) for some in by_name.values()]


@torch.inference_mode()
def _bare(engine: Any, replies: Sequence[Completion], work: Work) -> int:
    """transformers' own loop on the same rows; the number of tokens up to each row's end."""
    ids = torch.tensor([done.prompt_tokens for done in replies], device=engine.device)
    torch.manual_seed(0)
    output = engine.model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        do_sample=True,
        temperature=1.0,
        top_k=0,
        max_new_tokens=work.reply,
        pad_token_id=engine.pad,
        eos_token_id=list(engine.ends),
    )
    drawn = output[:, ids.shape[1] :].tolist()
    return sum(next((t for t, token in enumerate(row, 1) if token in engine.ends), len(row)) for row in drawn)


def _timed(work: Callable[[], object], device: str, repeats: int) -> Peak:
    """The median time of several tries."""
    tries = [measured(work, device) for _ in range(repeats)]
    return Peak(statistics.median(each.seconds for each in tries), tries[-1].bytes)


def _speed(peak: Peak, tokens: int, operations: int, limits: Roofline) -> Speed:
    return Speed(tokens / peak.seconds, operations / peak.seconds / limits.operations, peak.bytes)
