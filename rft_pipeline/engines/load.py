"""Loads the engine of a model."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from rft_pipeline.errors import EngineError

if TYPE_CHECKING:
    from rft_pipeline.engines.base import Engine
    from rft_pipeline.engines.openai import OpenAIEngine
    from rft_pipeline.engines.reward_model import RewardModelEngine
    from rft_pipeline.engines.settings import Answering, EngineRuntime, Server

Load = Callable[[Path, "EngineRuntime"], "Engine"]


def _transformers(folder: Path, runtime: "EngineRuntime") -> "Engine":
    from rft_pipeline.engines.transformers import TransformersEngine

    return TransformersEngine(folder, runtime)


def _vllm(folder: Path, runtime: "EngineRuntime") -> "Engine":
    from rft_pipeline.engines.vllm import VllmEngine

    return VllmEngine(folder, runtime)


ENGINES: dict[str, Load] = {"transformers": _transformers, "vllm": _vllm}
"""What loads each engine, by its name in `runtime.engine`. An engine's file is imported when it is loaded."""


def load_engine(folder: Path, runtime: "EngineRuntime") -> "Engine":
    """An engine on the weights in `folder`; the caller closes it. Raises `ModelError` and `EngineError`."""
    if missing := not_installed(runtime):
        raise EngineError(missing)
    return ENGINES[runtime.engine](folder, runtime)


def load_reward_model(folder: Path, runtime: "EngineRuntime") -> "RewardModelEngine":
    """The sequence classifier in `folder`. Raises `ModelError`."""
    from rft_pipeline.engines.reward_model import RewardModelEngine

    return RewardModelEngine(folder, runtime)


def load_server(model: str, server: "Server", whose: str, how: "Answering | None" = None) -> "OpenAIEngine":
    """A client of the server of `model` (`served:NAME`); `whose` is the settings' key, e.g. `judges.strong`.

    Raises `ConfigError` if the environment variable of the key is not set.
    """
    from rft_pipeline.engines.openai import OpenAIEngine

    return OpenAIEngine(model, server, whose, how)


def not_installed(runtime: "EngineRuntime") -> str | None:
    """The missing package of an engine and how to install it; imports nothing."""
    if runtime.engine != "vllm" or find_spec("vllm") is not None:
        return None
    return (
        "runtime.engine: vllm is not installed; on a GPU run `pip install 'rft-pipeline[vllm]'`, on a CPU "
        "`make test-vllm` builds .venv-vllm, an environment that has it; or use engine: transformers"
    )
