"""Settings of prompts, rollouts and evaluation."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from rft_pipeline.engines.settings import EngineRuntime, Sampling
from rft_pipeline.strict import Strict

Format = Literal["jsonl", "csv", "parquet", "chat_log", "hub"]


class PromptSource(Strict):
    """Where prompts come from: a file (the path starts at the campaign's folder), or a data set id of the hub."""

    source: str = Field(min_length=1)
    format: Format | None = None
    """Default: the file's ending. `chat_log` and `hub` must be named."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Our name → the source's name, for `id` and `prompt`. Other columns keep their names."""
    split: str = "train"
    """The split to read; only for `hub`."""

    @field_validator("columns")
    @classmethod
    def _known(cls, columns: dict[str, str]) -> dict[str, str]:
        if unknown := set(columns) - {"id", "prompt"}:
            raise ValueError(f"cannot map {sorted(unknown)}: our columns are id, prompt")
        return columns

    @property
    def kind(self) -> str:
        """The format that will be read."""
        return self.format or Path(self.source).suffix.lstrip(".")


class Prompts(Strict):
    train: PromptSource
    eval: PromptSource

    @field_validator("train", "eval", mode="before")
    @classmethod
    def _from_path(cls, value: Any) -> Any:
        return {"source": value} if isinstance(value, str) else value


class Rollouts(Strict):
    prompts_per_round: int = Field(default=24, ge=1)
    group_size: int = Field(default=8, ge=2)
    sampling: Sampling = Sampling()
    runtime: EngineRuntime = EngineRuntime()

    @field_validator("sampling")
    @classmethod
    def _groups_differ(cls, sampling: Sampling) -> Sampling:
        if sampling.temperature == 0:
            raise ValueError(
                "temperature 0 makes all replies of a group equal, so there is nothing to compare; use a value above 0"
            )
        return sampling


class Evaluation(Strict):
    """Checkpoints are compared on held-out prompts, with the sampling that a user would deploy."""

    sampling: Sampling = Sampling(temperature=0.7, top_p=0.95)
    samples_per_prompt: int = Field(default=1, ge=1)
    resamples: int = Field(default=2000, ge=100)
    """Bootstrap resamples of prompts for every interval."""
    baseline: Literal["warm_start", "base"] = "warm_start"
    """The policy that rounds are compared with, in reports, alarms and promotions; base if there is no warm start."""
    runtime: EngineRuntime = EngineRuntime()

    @property
    def kl_sampling(self) -> Sampling:
        """The sampling for the estimate of KL to base: temperature 1 without truncation, with the same token budget."""
        return Sampling(temperature=1, top_p=1, top_k=0, max_new_tokens=self.sampling.max_new_tokens)
