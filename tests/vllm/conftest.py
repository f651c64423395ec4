"""A tiny model with heads as wide as vLLM's kernels ask for, and the engines on it."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rft_pipeline.campaign import EngineRuntime
from tests.tiny_model import write_tiny_model

if TYPE_CHECKING:
    from rft_pipeline.engines.transformers import TransformersEngine
    from rft_pipeline.engines.vllm import VllmEngine

RUNTIME = EngineRuntime(engine="vllm", batch_size=8, dtype="float32", device="cpu", memory_share=0.1)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with heads of 32 instead of 16."""
    return write_tiny_model(tmp_path_factory.mktemp("tiny_model"), hidden_size=128)


@pytest.fixture(scope="session")
def plain(tiny_model: Path) -> "TransformersEngine":
    """The transformers engine on the same weights."""
    from rft_pipeline.engines.transformers import TransformersEngine

    return TransformersEngine(tiny_model, EngineRuntime(batch_size=8, dtype="float32", device="cpu"))


@pytest.fixture(scope="session")
def engine(tiny_model: Path) -> Iterator["VllmEngine"]:
    """The vLLM engine on the tiny model, in float32."""
    from rft_pipeline.engines.vllm import VllmEngine

    started = VllmEngine(tiny_model, RUNTIME)
    yield started
    started.close()
