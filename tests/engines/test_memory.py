"""Freed memory goes back to the system."""

import ctypes
import sys

import psutil
import pytest

from rft_pipeline.engines.memory import return_freed

BLOCK, BLOCKS, KEPT = 64 * 1024, 2048, 16
"""Bytes of a block, blocks, and of how many blocks one stays in use."""


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="only glibc keeps freed memory"
)
def test_what_lies_between_blocks_in_use_goes_back() -> None:
    process, blocks = psutil.Process(), [bytearray(b"x" * BLOCK) for _ in range(BLOCKS)]
    used = process.memory_info().rss
    blocks = blocks[::KEPT]
    return_freed()
    assert used - process.memory_info().rss > BLOCK * BLOCKS * 0.8
