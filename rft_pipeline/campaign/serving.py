"""Where a model comes from, and what serves it."""

import re
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from rft_pipeline.models import SERVED
from rft_pipeline.strict import Strict

REASONING_TOKENS = 2048
"""What a model that reasons first may take for its reasoning when nothing is configured."""
_REASONS = re.compile(r"\bo[1-9]\b|\bgpt-(?:5|oss)|deepseek-?r1|\br1\b|reason|think|\bqwq|magistral", re.IGNORECASE)


def reasons_by_name(model: str) -> bool:
    """Whether a model of this name is known to reason before it answers. Others may do so as well."""
    return bool(_REASONS.search(model)) and "non-reasoning" not in model.casefold()


class EngineRuntime(Strict):
    """How an engine works, never what it says."""

    engine: Literal["transformers", "vllm"] = "transformers"
    batch_size: int = Field(default=64, ge=1)
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    memory_share: float | None = Field(default=None, gt=0, le=1)
    """Only for `vllm`: the share of the device's memory for weights and KV cache; left out, half of a GPU's or a fifth
    of a machine's."""


class TokenPrices(Strict):
    """What a served model's tokens cost, a million of them, in the currency of `prices`."""

    input_million: float = Field(default=0.0, ge=0)
    output_million: float = Field(default=0.0, ge=0)


class Server(Strict):
    """Where a served model answers, and how it is asked: any server that speaks OpenAI's HTTP protocol."""

    url: str = Field(pattern=r"^https?://")
    """Up to `/v1`, e.g. `http://127.0.0.1:8000/v1`."""
    api_key_env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """The environment variable that holds the key; the key itself is written nowhere."""
    concurrency: int = Field(default=16, ge=1)
    """Calls under way at once."""
    timeout_seconds: float = Field(default=120.0, gt=0)
    attempts: int = Field(default=6, ge=1)
    """Tries of one call before it counts as failed."""
    prices: TokenPrices = TokenPrices()
    max_calls: int | None = Field(default=None, ge=1)
    """Calls one stage may make; then it stops and keeps what it has."""
    max_cost: float | None = Field(default=None, gt=0)
    """Money one stage may spend, by `prices`; then it stops and keeps what it has."""

    @model_validator(mode="after")
    def _cost_can_be_known(self) -> Self:
        if self.max_cost is not None and not (self.prices.input_million or self.prices.output_million):
            raise ValueError("max_cost needs `prices` (input_million, output_million): without them every call is free")
        return self


SystemIn = Literal["own_turn", "user_turn"]


class Served(Strict):
    """A model by where its weights come from, or by the name a server knows it under."""

    RUNTIME: ClassVar[frozenset[str]] = frozenset({"runtime", "server"})

    model: str = "embedded"
    """`embedded`, a hub id (`org/name` or `org/name@revision`), a local folder, or `served:NAME`."""
    server: Server | None = None
    """Only for `served:NAME`. The name is what counts as the model; a server may move without anything made again."""
    system_in: SystemIn = "own_turn"
    """Where system texts stand: in turns of their own, or each in front of the next user turn's text, for a model whose
    chat template refuses system turns."""

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
    """The model to tune. A served one can be sampled and judged, but has no weights here to train."""

    system: str | None = None
    """A system message put before every prompt that has no system turn of its own."""


Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class Answering(Strict):
    """How a served judge answers: part of what its judgements are kept under."""

    max_tokens: int | None = Field(default=None, ge=1)
    """Budget of every answer, its reasoning included. Left out, what the criterion asks for, and `REASONING_TOKENS`
    more for a model that reasons first."""
    reasoning_effort: Effort | None = None
    """Sent as it is; left out, the server's default. A server that does not know it refuses every call."""

    @property
    def answering(self) -> dict[str, Any]:
        """The settings that are set."""
        chosen = {"max_tokens": self.max_tokens, "reasoning_effort": self.reasoning_effort}
        return {name: value for name, value in chosen.items() if value is not None}


class JudgeModel(Served, Answering):
    """A model behind criteria that are not rules."""

    runtime: EngineRuntime = EngineRuntime()

    @property
    def changes_answers(self) -> dict[str, Any]:
        """The settings by which the same model answers as another judge would."""
        return self.answering | ({} if self.system_in == "own_turn" else {"system_in": self.system_in})

    @model_validator(mode="after")
    def _only_a_server_is_told_how(self) -> Self:
        if self.answering and not self.is_served:
            raise ValueError(
                f"{', '.join(self.answering)}: only for models called 'served:NAME'; this one is {self.model!r}, whose "
                "answers take the criterion's max_tokens"
            )
        return self
