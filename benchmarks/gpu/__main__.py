"""Do engine and trainer compute what the model's own forward pass does, and how near are they to the device's limits?

A random Llama of each shape is written to a temporary folder and loaded by the project's own engine and trainer.
"""

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.gpu.agreement import PLAIN, Distance, distances
from benchmarks.gpu.memory import table
from benchmarks.gpu.models import write_model
from benchmarks.gpu.roofline import Roofline, roofline
from benchmarks.gpu.shapes import HALF, ONE_AND_A_HALF, TINY
from benchmarks.gpu.speed import Sampling, Speed, Step, sampling, training
from benchmarks.gpu.workload import Work
from rft_pipeline.engines.weights import pick_device, pick_dtype

EXACT = 1e-3
"""Largest distance of a log-prob in float32, in nats."""
ROUNDED = 2.0
"""Largest mean distance in bfloat16, as a multiple of the plain forward's own."""
EQUAL = 1e-2
"""Largest difference of packed and padded losses, and largest relative difference of the norms of their gradients."""
UTILISATION = 0.4
"""Least MFU of a packed training step."""
OF_BARE = 0.9
"""Least ratio of the engine's tokens a second to those of a bare `generate`."""

SMALL = Work(TINY, prompts=2, group=4, prompt=24, reply=12, micro_batch_size=4)
LARGE = (
    Work(HALF, prompts=16, group=8, prompt=256, reply=256, micro_batch_size=16),
    Work(ONE_AND_A_HALF, prompts=16, group=8, prompt=256, reply=256, micro_batch_size=8),
)
COMPARED = 64
"""Most tokens of the replies whose log-probs are compared."""


class Result(NamedTuple):
    """What was found for one shape."""

    distances: list[Distance]
    sampling: list[Sampling]
    training: list[Step]

    def missed(self, timed: bool) -> Iterator[str]:
        """The goals that were missed; those of speed only if `timed`."""
        plain = next(each.mean for each in self.distances if (each.dtype, each.path) == ("bfloat16", PLAIN))
        for each in self.distances:
            what = f"{each.path} in {each.dtype}"
            if each.dtype == "float32" and not each.largest <= EXACT:
                yield f"{what}: {each.largest:.2g} nats from the plain forward, wanted ≤ {EXACT:g}"
            if each.dtype == "bfloat16" and not each.mean <= ROUNDED * plain:
                yield f"{what}: {each.mean:.2g} nats on average, wanted ≤ {ROUNDED:g} × the plain forward's {plain:.2g}"
        packed, padded = self.training
        if not abs(packed.loss - padded.loss) <= EQUAL:
            yield f"loss: {packed.loss:.6f} packed and {padded.loss:.6f} padded, wanted within {EQUAL:g}"
        if not abs(packed.grad_norm / padded.grad_norm - 1) <= EQUAL:
            yield f"gradient: {packed.grad_norm:.4g} packed, {padded.grad_norm:.4g} padded, wanted within {EQUAL:.0%}"
        if timed and packed.speed.utilisation < UTILISATION:
            yield f"packed training: MFU {packed.speed.utilisation:.0%}, wanted ≥ {UTILISATION:.0%}"
        ratio = self.sampling[0].speed.tokens / self.sampling[1].speed.tokens
        if timed and ratio < OF_BARE:
            yield f"sampling: {ratio:.2f} of a bare generate, wanted ≥ {OF_BARE:g}"


def measure(work: Work, limits: Roofline, device: str, dtype: str, repeats: int) -> Result:
    """Measure everything for one shape, speed in `dtype`."""
    with tempfile.TemporaryDirectory(prefix="rft-gpu-") as scratch:
        folder = write_model(work.shape, Path(scratch), device)
        few = Work(work.shape, min(2, work.prompts), 4, work.prompt, min(COMPARED, work.reply), work.micro_batch_size)
        compared = distances(folder, few, device)
        sampled, replies = sampling(folder, work, limits, device, dtype, repeats)
        trained = training(folder, work, replies, limits, device, dtype, repeats)
    return Result(compared, sampled, trained)


def show(out: Console, work: Work, result: Result) -> None:
    """Print the tables of a shape."""
    replies = f"{work.prompts} prompts of {work.prompt} tokens × {work.group} replies of {work.reply}, padded passes "
    replies += f"of {work.micro_batch_size} rows; log-probs are compared with the plain forward in float32"
    out.print(f"\n[bold]{work.shape.name}[/], {work.shape.weights / 1e9:.3g} G weights; {replies}", soft_wrap=True)
    close = _table("log-probs", "numbers", "mean |Δ|, nats", "largest")
    for each in result.distances:
        close.add_row(each.path, each.dtype, f"{each.mean:.2e}", f"{each.largest:.2e}")
    sampled = _table("sampling", *SPEED, "of the roofline")
    for way in result.sampling:
        sampled.add_row(way.name, *_speed(way.speed), f"{way.of_roofline:.1%}")
    _ratio(sampled, *(way.speed for way in result.sampling))
    trained = _table("training", *SPEED, "loss", "gradient")
    for step in result.training:
        trained.add_row(step.name, *_speed(step.speed), f"{step.loss:.6f}", f"{step.grad_norm:.4g}")
    _ratio(trained, *(step.speed for step in result.training))
    for shown in (close, sampled, trained):
        out.print(shown)


SPEED = ("tok/s", "MFU", "peak memory")


def _table(what: str, *numbers: str) -> Table:
    made = Table(what)
    for column in numbers:
        made.add_column(column, justify="right")
    return made


def _speed(speed: Speed) -> tuple[str, str, str]:
    memory = "–" if speed.bytes is None else f"{speed.bytes / 1e9:.2f} GB"
    return f"{speed.tokens:,.0f}", f"{speed.utilisation:.1%}", memory


def _ratio(shown: Table, ours: Speed, other: Speed) -> None:
    shown.add_section()
    shown.add_row("ratio", f"{ours.tokens / other.tokens:.2f}")


def machine(device: str) -> str:
    """What the numbers were taken on."""
    cpu = f"{platform.machine()} CPU, {torch.get_num_threads()} of {os.cpu_count()} threads"
    where = torch.cuda.get_device_name() if device == "cuda" else cpu
    return f"{where}; {', '.join(f'{name} {version(name)}' for name in ('torch', 'transformers', 'accelerate'))}"


def main() -> int:
    """The exit code: 1 when a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--small", action="store_true", help="a tiny model, in seconds on a CPU; speed has no goal")
    parser.add_argument("--memory", action="store_true", help="settings by model and GPU, derived; runs no model")
    parser.add_argument("--repeats", type=int, default=3, help="how often each side is timed; the median counts")
    chosen = parser.parse_args()
    if chosen.memory:
        print(*table(), sep="\n")
        return 0
    out, device = Console(highlight=False), pick_device("auto")
    dtype = pick_dtype("auto", device)
    limits = roofline(device, getattr(torch, dtype), 256 if chosen.small else 8192)
    out.print(f"{machine(device)}; speed in {dtype}", soft_wrap=True)
    out.print(f"roofline: {limits.operations / 1e12:.3g} TFLOP/s, {limits.bytes / 1e9:,.0f} GB/s", soft_wrap=True)
    missed = []
    for work in (SMALL,) if chosen.small else LARGE:
        result = measure(work, limits, device, dtype, chosen.repeats)
        show(out, work, result)
        missed += [f"{work.shape.name}, {fault}" for fault in result.missed(timed=not chosen.small)]
    for fault in missed:
        out.print(f"[bold red]missed[/] {fault}", soft_wrap=True)
    if not missed:
        out.print("[green]all goals met[/]")
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
