"""Memory that was freed goes back to the system."""

import ctypes
import sys


def return_freed() -> None:
    """Return what was freed to the system. glibc keeps most of it, between blocks that are in use, and in a round in
    generations, whose arrays have another size each time, that grows. Does nothing without glibc."""
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)
