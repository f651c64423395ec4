"""Where prompts come from, and how completions are drawn for them."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from rft_pipeline.engines.settings import EngineRuntime, Sampling
from rft_pipeline.strict import Strict

Format = Literal["jsonl", "csv", "parquet", "chat_log", "hub"]


class PromptSource(Strict):
    """Where prompts come from: a file beside campaign.yaml, or a data set id of the hub."""

    source: str = Field(min_length=1)
    format: Format | None = None
    """Taken from the file's ending when left out; `chat_log` and `hub` must be named."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Our name → the source's name, for `id` and `prompt`; further columns keep their names."""
    split: str = "train"
    """Only for `hub`: the split to read."""

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
            raise ValueError("temperature 0 makes every reply of a group the same: nothing to compare; use above 0")
        return sampling


class Evaluation(Strict):
    """How checkpoints are compared, on prompts never trained on, with the sampling a user would deploy."""

    sampling: Sampling = Sampling(temperature=0.7, top_p=0.95)
    samples_per_prompt: int = Field(default=1, ge=1)
    resamples: int = Field(default=2000, ge=100)
    """Bootstrap resamples of prompts behind every interval."""
    runtime: EngineRuntime = EngineRuntime()

    @property
    def kl_sampling(self) -> Sampling:
        """How the replies are drawn that KL to base is estimated on: from the policy itself, at temperature 1 without
        truncation, up to the same number of tokens."""
        return Sampling(temperature=1, top_p=1, top_k=0, max_new_tokens=self.sampling.max_new_tokens)
