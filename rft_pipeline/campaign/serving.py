"""Settings of the policy and of judges: where a model comes from and what serves it."""

from typing import Any, ClassVar, Self

from pydantic import model_validator

from rft_pipeline.engines.settings import Answering, EngineRuntime, Server, SystemIn, Thinking
from rft_pipeline.models import SERVED
from rft_pipeline.strict import Strict


class Served(Strict):
    """A model: the source of its weights, or its name on a server."""

    RUNTIME: ClassVar[frozenset[str]] = frozenset({"runtime", "server"})

    model: str = "embedded"
    """`embedded`, a hub id (`org/name` or `org/name@revision`), a folder (a relative path starts at the campaign's
    folder), `champion:NAME` (the champion of the campaign NAME), or `served:NAME` (a model behind a `server`)."""
    server: Server | None = None
    """Only for `served:NAME`. The name identifies the model, so changing the server recomputes nothing."""
    system_in: SystemIn = "own_turn"
    """Where system texts go: into turns of their own, or in front of the next user turn, for a model whose chat
    template refuses system turns."""

    @model_validator(mode="after")
    def _server_fits(self) -> Self:
        if self.is_served and self.server is None:
            raise ValueError(f"model {self.model!r} needs a `server` with its `url`")
        if self.server is not None and not self.is_served:
            raise ValueError(f"`server` is for models called 'served:NAME'; this one is {self.model!r}")
        return self

    @property
    def is_served(self) -> bool:
        return self.model.startswith(SERVED)


class Policy(Served):
    """The model to train. A served model can be sampled and judged, but not trained."""

    system: str | None = None
    """A system message for every prompt that has no system turn of its own."""
    thinking: Thinking = "auto"
    """Whether a reasoning model thinks, and who sees its thoughts. `strip`: it thinks, and only the rollouts table has
    the thought; `keep`: the reply is thought and answer; `off`: it does not think. `auto`: as its chat template does by
    default, and a thought is treated as with `strip`."""


class JudgeModel(Served, Answering):
    """A model that judges criteria."""

    runtime: EngineRuntime = EngineRuntime()

    @property
    def changes_answers(self) -> dict[str, Any]:
        """The settings that change the model's answers."""
        return self.answering | ({} if self.system_in == "own_turn" else {"system_in": self.system_in})

    @model_validator(mode="after")
    def _answer_settings_are_for_servers(self) -> Self:
        if self.answering and not self.is_served:
            raise ValueError(
                f"{', '.join(self.answering)}: only for models called 'served:NAME'; this one is {self.model!r}, which "
                "uses the criterion's max_tokens"
            )
        return self
