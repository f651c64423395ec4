"""Training: how many more tokens a second does a step train with packed than with padded passes?

Both sides take optimiser steps of grpo on the same model with the same synthetic groups: a prompt of drawn tokens and
replies of the same length. Packed, the prompt of a group is computed once; padded, once for each reply. Tokens are
counted as if each reply had its own prompt on both sides.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NamedTuple

import polars as pl
import torch
import typer

from benchmarks.common import (
    Goal,
    ModelName,
    PairCount,
    alternate,
    conclude,
    median_ratio,
    model_folder,
    run,
    speed_table,
)
from rft_pipeline.campaign import Sampling, Training
from rft_pipeline.cli import console
from rft_pipeline.fingerprint import seed_of
from rft_pipeline.trainers import TrainJob
from rft_pipeline.trainers.rows import TrainingRow
from rft_pipeline.trainers.session import Session


class Shape(NamedTuple):
    """The lengths of a group, in tokens, and the least ratio."""

    prompt: int
    reply: int
    goal: float


SHAPES = (Shape(115, 40, 2.0), Shape(1000, 60, 4.0))
GROUP = 8


def training(
    model: ModelName = "embedded",
    groups: Annotated[int, typer.Option(min=1, help="Groups of 8 in a step.")] = 2,
    micro_batch_size: Annotated[int, typer.Option(min=1, help="Rows of a padded pass.")] = 4,
    pairs: PairCount = 3,
) -> None:
    """Training tokens a second, packed against padded."""
    folder, goals = model_folder(model), []
    for shape in SHAPES:
        rows = _rows(shape, groups)
        with tempfile.TemporaryDirectory() as scratch:
            packed, padded = (
                _side(folder, Path(scratch) / packing, rows, packing, micro_batch_size) for packing in ("auto", "off")
            )
            timed = alternate(packed, padded, pairs)
        what = f"prompt {shape.prompt}, replies {shape.reply}"
        where = f"{torch.get_num_threads()} threads, group of {GROUP}, {groups} groups a step"
        console.out.print(speed_table(what, where, ("packed", "padded"), timed))
        ratio = median_ratio(timed)
        goals.append(Goal(f"packed / padded, {what}", f"{ratio:.2f}", f"≥ {shape.goal:g}", ratio >= shape.goal))
    conclude(goals)


def _rows(shape: Shape, groups: int) -> list[TrainingRow]:
    draw = torch.Generator().manual_seed(seed_of(1, "training benchmark") % 2**31)

    def tokens(count: int) -> list[int]:
        drawn: list[int] = torch.randint(1000, 40000, (count,), generator=draw).tolist()
        return drawn

    prompts = {f"group {number}": tokens(shape.prompt) for number in range(groups)}
    return [
        TrainingRow(name, prompt, tokens(shape.reply), [], (-1.0) ** i, live=True)
        for name, prompt in prompts.items()
        for i in range(GROUP)
    ]


def _side(
    folder: Path, scratch: Path, rows: list[TrainingRow], packing: str, micro_batch_size: int
) -> Callable[[int], int]:
    """What takes a step on the rows and returns their tokens. One step is taken at once, so that nothing is set up in
    the time that is measured."""
    settings = {
        "batch_size": len(rows),
        "learning_rate": 1e-6,
        "runtime": {"micro_batch_size": micro_batch_size, "packing": packing, "save_steps": 10**9},
    }
    job = TrainJob(
        start=folder,
        base=folder,
        batch=pl.DataFrame(),
        weights={},
        training=Training.model_validate(settings),
        sampling=Sampling(temperature=0.9),
        seed=1,
        scratch=scratch,
        kept=scratch,
        log_step=lambda step, metrics: None,
    )
    session = Session(job, steps=1)

    def step(turn: int) -> int:
        session.train(rows, session.generations_done)
        return sum(row.length for row in rows)

    step(0)
    return step


if __name__ == "__main__":
    run(training)
