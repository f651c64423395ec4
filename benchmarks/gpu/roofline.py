"""What the device can do at most: operations and bytes a second, measured with large products and copies."""

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import torch

from benchmarks.gpu.shapes import causal
from benchmarks.gpu.workload import Work

REPEATS = 5


class Roofline(NamedTuple):
    """The device's own limits."""

    operations: float
    """A second, in matrix products of the number format that is measured."""
    bytes: float
    """A second, read and written."""

    def sampling_seconds(self, work: Work, prompts: int, width: int) -> float:
        """The least time to sample all replies in one batch, with numbers of `width` bytes; `prompts` are computed.
        Each token of a reply reads all weights, and the keys and values before it."""
        shape, rows = work.shape, work.rows
        total = shape.forward_operations(prompts * work.prompt, 0, prompts * causal(work.prompt)) / self.operations
        for step in range(work.reply):
            context = rows * (work.prompt + step)
            read = width * (shape.layer_weights + shape.head_weights + shape.cache_numbers * context)
            total += max(read / self.bytes, shape.forward_operations(rows, rows, context) / self.operations)
        return total


class Peak(NamedTuple):
    """A measured time, and the most memory that was taken meanwhile."""

    seconds: float
    bytes: int | None
    """None on a CPU, where PyTorch does not count it."""


def measured(work: Callable[[], object], device: str) -> Peak:
    """Time a piece of work once."""
    _wait(device)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    work()
    _wait(device)
    seconds = time.perf_counter() - began
    return Peak(seconds, torch.cuda.max_memory_allocated() if device == "cuda" else None)


def roofline(device: str, dtype: torch.dtype, side: int) -> Roofline:
    """Measured with square matrices of `side`, of random numbers: products of zeros are faster."""
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    source = torch.randn(side, side, 4, device=device)
    target = torch.empty_like(source)
    product = _median(lambda: torch.mm(a, b), device)
    copy = _median(lambda: target.copy_(source), device)
    return Roofline(2 * side**3 / product, 2 * source.nbytes / copy)


def _median(work: Callable[[], object], device: str) -> float:
    def several() -> None:
        for _ in range(REPEATS):
            work()

    several()
    return statistics.median(measured(several, device).seconds for _ in range(REPEATS)) / REPEATS


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
