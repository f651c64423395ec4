"""Settings of engines: sampling, runtime and servers."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from rft_pipeline.engines.load import ENGINES, IN_PROCESS, RAY
from rft_pipeline.errors import without_secrets
from rft_pipeline.strict import Spelled, Strict, key_of

REASONING_TOKENS = 2048
"""Default token budget for the reasoning of a model."""
_REASONS = re.compile(r"\bo[1-9]\b|\bgpt-(?:5|oss)|deepseek-?r1|\br1\b|reason|think|\bqwq|magistral", re.IGNORECASE)
_ADDRESS = re.compile(r"https?://")


def reasons_by_name(model: str) -> bool:
    """Whether a model with this name is known to reason before it answers. Other models may do so too."""
    return bool(_REASONS.search(model)) and "non-reasoning" not in model.casefold()


class Sampling(Strict):
    """How completions are sampled."""

    temperature: float = Field(default=1.0, ge=0)
    """0 is greedy."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    top_k: int = Field(default=0, ge=0)
    """0 keeps every token."""
    max_new_tokens: int = Field(default=48, ge=1)
    """Token budget of the answer; without `max_thinking_tokens`, of thought and answer together."""
    max_thinking_tokens: int | None = Field(default=None, ge=1)
    """Token budget of the thought of a reasoning model, with its tags."""

    @property
    def budget(self) -> int:
        """Maximum number of tokens of a reply, thought included."""
        return self.max_new_tokens + (self.max_thinking_tokens or 0)


class ProcessRuntime(Strict):
    """How an engine in one process runs. These settings do not change results."""

    engine: Annotated[str, key_of(IN_PROCESS, "an engine of one process")] = "transformers"
    batch_size: int = Field(default=64, ge=1)
    """Sequences per pass."""
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    """Number format of the weights. `auto`: bfloat16 on a GPU and on a CPU that computes in it, else float32."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    memory_share: float | None = Field(default=None, gt=0, le=1)
    """Only for `vllm`: the share of memory for weights and KV cache. Default: half of a GPU's, a fifth of a CPU
    machine's."""
    sleeps: bool = False
    """Only for `vllm` on a GPU: whether it leaves its share of the GPU to the trainer while nothing is sampled (sleep
    mode). Meanwhile its weights are in the machine's memory."""


class WorkerRuntime(ProcessRuntime):
    """How the engine of one Ray worker runs, and what the worker takes of the cluster."""

    cpus: int = Field(default=1, ge=1)
    """Threads. On a running cluster, also the CPU cores that the worker reserves."""
    gpus: float = Field(default=0.0, ge=0, le=1)
    """The share of a GPU that the worker reserves; with 0 it sees none."""


class EngineRuntime(ProcessRuntime):
    """How an engine runs. These settings do not change results."""

    engine: Annotated[str, key_of(ENGINES, "an engine")] = "transformers"
    workers: int = Field(default=1, ge=1)
    """Only for `ray`: how many workers share the requests."""
    worker: WorkerRuntime = WorkerRuntime()
    """Only for `ray`: the engine of each worker."""

    @model_validator(mode="after")
    def _keys_fit_engine(self) -> Self:
        spread = {"workers", "worker"}
        wrong = set(ProcessRuntime.model_fields) - {"engine"} if self.engine == RAY else spread
        if found := sorted(wrong & self.model_fields_set):
            where = "of each worker: put it under `worker`" if self.engine == RAY else f"only for engine: {RAY}"
            raise ValueError(f"{', '.join(found)}: {where}; this is engine: {self.engine}")
        return self


class TokenPrices(Strict):
    """Prices of a served model per million tokens, in the currency of `prices`."""

    input_million: float = Field(default=0.0, ge=0)
    output_million: float = Field(default=0.0, ge=0)


def _addresses(url: str | tuple[str, ...]) -> str | tuple[str, ...]:
    if not url:
        raise ValueError("names no server")
    if wrong := [each for each in ((url,) if isinstance(url, str) else url) if not _ADDRESS.match(each)]:
        raise ValueError(f"{wrong[0]!r} must begin with http:// or https://")
    return url


VARIABLE = Spelled(
    r"[A-Za-z_][A-Za-z0-9_]*",
    "the name of an environment variable (letters, digits and _), never the key itself",
    secret=True,
)


class Server(Strict):
    """A server with OpenAI's HTTP protocol, and how it is called."""

    url: Annotated[str | tuple[str, ...], AfterValidator(_addresses)]
    """Up to `/v1`, e.g. `http://127.0.0.1:8000/v1`. A list of addresses shares the calls out among servers of the same
    model: each call goes to the one with the fewest calls at that time, and one that fails gets none for a while."""
    api_key_env: Annotated[str, VARIABLE] | None = None
    """The environment variable of the key. The key itself is never stored."""
    concurrency: int = Field(default=16, ge=1)
    """Maximum number of concurrent calls, of all addresses together."""
    timeout_seconds: float = Field(default=120.0, gt=0)
    """Seconds until a call counts as failed."""
    attempts: int = Field(default=6, ge=1)
    """Attempts per call."""
    prices: TokenPrices = TokenPrices()
    max_calls: int | None = Field(default=None, ge=1)
    """Maximum number of calls of one stage; then it stops and keeps its rows."""
    max_cost: float | None = Field(default=None, gt=0)
    """Maximum cost of one stage, by `prices`; then it stops and keeps its rows."""

    @property
    def addresses(self) -> tuple[str, ...]:
        return (self.url,) if isinstance(self.url, str) else self.url

    @property
    def named(self) -> str:
        """The addresses in words, without passwords."""
        return " and ".join(without_secrets(each) for each in self.addresses)

    @model_validator(mode="after")
    def _cost_can_be_known(self) -> Self:
        if self.max_cost is not None and not (self.prices.input_million or self.prices.output_million):
            raise ValueError("max_cost needs `prices` (input_million, output_million); without them every call costs 0")
        return self


SystemIn = Literal["own_turn", "user_turn"]
Thinking = Literal["auto", "strip", "keep", "off"]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class Answering(Strict):
    """How a served judge answers; part of the identity of its judgements."""

    max_tokens: int | None = Field(default=None, ge=1)
    """Token budget of every answer, including reasoning. Default: the criterion's budget, and 2048 more for a model
    that reasons first."""
    reasoning_effort: Effort | None = None
    """Sent unchanged; default: the server's. A server that does not know the value refuses every call."""

    @property
    def answering(self) -> dict[str, Any]:
        """The settings that have a value."""
        return self.model_dump(include=set(Answering.model_fields), exclude_none=True)
