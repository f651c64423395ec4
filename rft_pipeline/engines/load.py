"""Loading an engine: the one place that decides what serves a model."""

from pathlib import Path
from typing import TYPE_CHECKING

from rft_pipeline.campaign import EngineRuntime, Server

if TYPE_CHECKING:
    from rft_pipeline.engines.openai import OpenAIEngine
    from rft_pipeline.engines.reward_model import RewardModelEngine
    from rft_pipeline.engines.transformers import TransformersEngine


def load_engine(folder: Path, runtime: EngineRuntime) -> "TransformersEngine":
    """An engine on the weights in `folder`. Raises `ModelError`."""
    from rft_pipeline.engines.transformers import TransformersEngine

    return TransformersEngine(folder, runtime)


def load_reward_model(folder: Path, runtime: EngineRuntime) -> "RewardModelEngine":
    """The sequence classifier in `folder`. Raises `ModelError`."""
    from rft_pipeline.engines.reward_model import RewardModelEngine

    return RewardModelEngine(folder, runtime)


def load_server(model: str, server: Server, whose: str) -> "OpenAIEngine":
    """A client of the server that holds `model` (`served:NAME`); `whose` is the settings' key, e.g. `judges.strong`.

    Raises `ConfigError` when the environment variable of the key is not set.
    """
    from rft_pipeline.engines.openai import OpenAIEngine

    return OpenAIEngine(model, server, whose)
