"""Memory that tensors have left is given back to the system."""

import psutil
import pytest
import torch

from rft_pipeline.trainers import memory
from rft_pipeline.trainers.memory import trim

MANY, SMALL = 3000, 2**14


@pytest.mark.skipif(memory._malloc_trim() is None, reason="this C library cannot")
def test_memory_below_a_tensor_that_is_still_used_is_given_back() -> None:
    tensors = [torch.ones(SMALL) for _ in range(MANY)]
    held = psutil.Process().memory_info().rss
    last = tensors[-1]
    tensors.clear()
    trim()
    freed = held - psutil.Process().memory_info().rss
    assert freed > 0.8 * MANY * SMALL * 4
    assert last.sum() == SMALL


def test_a_c_library_that_cannot_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_malloc_trim", lambda: None)
    trim()
