"""Gives the memory that tensors have left back to the system."""

import ctypes
from collections.abc import Callable
from functools import cache


def trim() -> None:
    """Give unused memory of the C library's heap back, where it can (glibc). It keeps that of small and middle tensors
    for others of the same size, and the passes of a step all differ in length, so the heap grows from step to step."""
    if (trims := _malloc_trim()) is not None:
        trims(0)


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
