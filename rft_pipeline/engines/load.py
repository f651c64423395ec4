"""Loads the engine of a model."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from rft_pipeline.errors import EngineError

if TYPE_CHECKING:
    from rft_pipeline.engines.base import Engine, Rewarder
    from rft_pipeline.engines.openai import OpenAIEngine
    from rft_pipeline.engines.settings import Answering, EngineRuntime, ProcessRuntime, Server

Load = Callable[[Path, Any], "Engine"]


def _transformers(folder: Path, runtime: "ProcessRuntime") -> "Engine":
    from rft_pipeline.engines.transformers import TransformersEngine

    return TransformersEngine(folder, runtime)


def _vllm(folder: Path, runtime: "ProcessRuntime") -> "Engine":
    from rft_pipeline.engines.vllm import VllmEngine

    return VllmEngine(folder, runtime)


def _ray(folder: Path, runtime: "EngineRuntime") -> "Engine":
    from rft_pipeline.engines.ray import RayEngine

    return RayEngine(folder, runtime)


RAY = "ray"
IN_PROCESS: dict[str, Load] = {"transformers": _transformers, "vllm": _vllm}
"""What loads each engine that runs in one process, by its name in `runtime.engine`. An engine's file is imported when
it is loaded."""
ENGINES: dict[str, Load] = {**IN_PROCESS, RAY: _ray}
"""The same for all engines."""


def load_engine(folder: Path, runtime: "ProcessRuntime") -> "Engine":
    """An engine on the weights in `folder`; the caller closes it. Raises `ModelError` and `EngineError`."""
    if missing := not_installed(runtime):
        raise EngineError(missing)
    return ENGINES[runtime.engine](folder, runtime)


def load_reward_model(folder: Path, runtime: "ProcessRuntime") -> "Rewarder":
    """The sequence classifier in `folder`; the caller closes it. Raises `ModelError` and `EngineError`."""
    if runtime.engine == RAY:
        if missing := not_installed(runtime):
            raise EngineError(missing)
        from rft_pipeline.engines.ray import RayRewarder
        from rft_pipeline.engines.settings import EngineRuntime

        return RayRewarder(folder, cast(EngineRuntime, runtime))
    from rft_pipeline.engines.reward_model import RewardModelEngine

    return RewardModelEngine(folder, runtime)


def load_server(model: str, server: "Server", whose: str, how: "Answering | None" = None) -> "OpenAIEngine":
    """A client of the server of `model` (`served:NAME`); `whose` is the settings' key, e.g. `judges.strong`.

    Raises `ConfigError` if the environment variable of the key is not set.
    """
    from rft_pipeline.engines.openai import OpenAIEngine

    return OpenAIEngine(model, server, whose, how)


def not_installed(runtime: "ProcessRuntime") -> str | None:
    """The missing package of an engine and how to install it; imports nothing.

    What the workers of a running Ray cluster lack, they say themselves.
    """
    if runtime.engine == RAY and find_spec("ray") is None:
        return (
            "runtime.engine: ray is not installed; run `pip install 'rft-pipeline[ray]'`, or use engine: transformers"
        )
    if runtime.engine != "vllm" or find_spec("vllm") is not None:
        return None
    return (
        "runtime.engine: vllm is not installed; on a GPU run `pip install 'rft-pipeline[vllm]'`, on a CPU "
        "`make test-vllm` builds .venv-vllm, an environment that has it; or use engine: transformers"
    )
