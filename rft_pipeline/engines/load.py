"""Loading an engine: the one place that decides what serves a model's folder."""

from pathlib import Path
from typing import TYPE_CHECKING

from rft_pipeline.campaign import EngineRuntime

if TYPE_CHECKING:
    from rft_pipeline.engines.transformers import TransformersEngine


def load_engine(folder: Path, runtime: EngineRuntime) -> "TransformersEngine":
    """An engine on the weights in `folder`. Raises `ModelError`."""
    from rft_pipeline.engines.transformers import TransformersEngine

    return TransformersEngine(folder, runtime)
