"""Loading an engine: the one place that decides what serves a model's folder."""

from importlib.util import find_spec
from pathlib import Path

from rft_pipeline.campaign import EngineRuntime
from rft_pipeline.engines.base import Engine
from rft_pipeline.errors import EngineError


def load_engine(folder: Path, runtime: EngineRuntime) -> Engine:
    """An engine on the weights in `folder`; its user closes it. Raises `ModelError` and `EngineError`."""
    if runtime.engine == "vllm":
        if missing := not_installed(runtime):
            raise EngineError(missing)
        from rft_pipeline.engines.vllm import VllmEngine

        return VllmEngine(folder, runtime)
    from rft_pipeline.engines.transformers import TransformersEngine

    return TransformersEngine(folder, runtime)


def not_installed(runtime: EngineRuntime) -> str | None:
    """What is missing for an engine and how to get it; nothing is imported."""
    if runtime.engine != "vllm" or find_spec("vllm") is not None:
        return None
    return (
        "runtime.engine: vllm is not installed; on a GPU run `pip install 'rft-pipeline[vllm]'`, on a CPU "
        "`make test-vllm` builds .venv-vllm, an environment that has it; or use engine: transformers"
    )
