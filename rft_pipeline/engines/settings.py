"""Settings of engines: how completions are drawn, how an engine works, where a server answers."""

import re
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from rft_pipeline.strict import Strict

REASONING_TOKENS = 2048
"""What a model that reasons first may take for its reasoning when nothing is configured."""
_REASONS = re.compile(r"\bo[1-9]\b|\bgpt-(?:5|oss)|deepseek-?r1|\br1\b|reason|think|\bqwq|magistral", re.IGNORECASE)


def reasons_by_name(model: str) -> bool:
    """Whether a model of this name is known to reason before it answers. Others may do so as well."""
    return bool(_REASONS.search(model)) and "non-reasoning" not in model.casefold()


class Sampling(Strict):
    """How a completion is drawn."""

    temperature: float = Field(default=1.0, ge=0)
    """0 is greedy."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    top_k: int = Field(default=0, ge=0)
    """0 keeps every token."""
    max_new_tokens: int = Field(default=48, ge=1)


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
