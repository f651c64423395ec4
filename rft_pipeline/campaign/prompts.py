"""Settings of prompts, rollouts and evaluation."""

import typing
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, cast

from pydantic import Field, field_validator, model_validator

from rft_pipeline.engines.settings import EngineRuntime, Sampling
from rft_pipeline.judges.checklist import RUBRIC
from rft_pipeline.rules.base import REFERENCE
from rft_pipeline.strict import Strict

FileType = Literal["jsonl", "json", "csv", "parquet", "hub"]
"""How a source is stored."""
RowFormat = Literal[
    "prompts", "messages", "sharegpt", "completions", "preferences", "langfuse", "langsmith", "verifiers"
]
"""How its rows are written; `rft_pipeline.prompts.formats` reads each."""
FILE_TYPES: tuple[str, ...] = typing.get_args(FileType)
ROW_FORMATS: tuple[str, ...] = typing.get_args(RowFormat)
DEPLOYED = 0.7
"""The temperature of evaluation, where none is given."""
OURS = ("id", "prompt", "messages", REFERENCE, RUBRIC)


class PromptSource(Strict):
    """Where prompts come from: a file (the path starts at the campaign's folder), or a data set id of the hub."""

    source: str = Field(min_length=1)
    format: FileType | RowFormat | None = None
    """Default: the file type is the file's ending, and the format of its rows is recognised. `hub` must be named."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Our name → the source's name, or the place inside a logged object (`input.question`), for id, prompt,
    messages, reference and rubric. Other columns keep their names."""
    split: str | None = None
    """The split of a data set of the hub; default: train. With a split, `format` may name the format of its rows."""

    @field_validator("columns")
    @classmethod
    def _known(cls, columns: dict[str, str]) -> dict[str, str]:
        if unknown := set(columns) - set(OURS):
            raise ValueError(f"cannot map {sorted(unknown)}: our columns are {', '.join(OURS)}")
        if {"prompt", "messages"} <= set(columns):
            raise ValueError("maps both prompt and messages; map the column that holds the prompt")
        return columns

    @model_validator(mode="after")
    def _split_is_of_the_hub(self) -> Self:
        if self.split is not None and self.format in FILE_TYPES and self.format != "hub":
            raise ValueError(f"split: only a data set of the hub has splits; remove it, or `format: {self.format}`")
        return self

    @property
    def file_type(self) -> str:
        """How the source is stored; an ending that is not known is returned as it is."""
        if self.split is not None:
            return "hub"
        if self.format in FILE_TYPES:
            return str(self.format)
        ending = Path(self.source.removesuffix(".gz")).suffix.lstrip(".")
        return ending if ending in FILE_TYPES or self.format is None else "jsonl"

    @property
    def split_or_train(self) -> str:
        return self.split or "train"

    @property
    def row_format(self) -> RowFormat | None:
        """The format of its rows, if it is named."""
        return cast(RowFormat, self.format) if self.format in ROW_FORMATS else None


class Prompts(Strict):
    train: PromptSource
    eval: PromptSource

    @field_validator("train", "eval", mode="before")
    @classmethod
    def _from_path(cls, value: Any) -> Any:
        return {"source": value} if isinstance(value, str) else value


class Rollouts(Strict):
    RUNTIME: ClassVar[frozenset[str]] = frozenset({"runtime", "replay"})

    prompts_per_round: int = Field(default=24, ge=1)
    """Train prompts of a round, drawn by the seed."""
    group_size: int = Field(default=8, ge=2)
    """Replies to each prompt; they are compared with one another."""
    refill: int = Field(default=0, ge=0)
    """Maximum number of further prompts that a generation samples in place of groups without variance. They are train
    prompts that the round does not draw."""
    replay: str | None = None
    """A file of traces of verifiers (`traces.jsonl`): its rollouts are judged and trained on, and none are sampled. The
    path starts at the campaign's folder; the content of the file is part of the identity."""
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

    sampling: Sampling = Sampling(temperature=DEPLOYED)
    """A key that is left out is as in `rollouts.sampling`; `temperature` is 0.7 then."""
    samples_per_prompt: int = Field(default=1, ge=1)
    """Replies to each held-out prompt; they count as one prompt in every interval."""
    resamples: int = Field(default=2000, ge=100)
    """Bootstrap resamples of prompts for every interval."""
    baseline: Literal["warm_start", "base"] = "warm_start"
    """The policy that rounds are compared with, in reports, alarms and promotions; base if there is no warm start."""
    runtime: EngineRuntime = EngineRuntime()

    def completed(self, rollouts: Sampling) -> Self:
        """With the keys of `sampling` that are not given taken from `rollouts.sampling`, except the temperature."""
        rest = rollouts.model_dump() | {"temperature": DEPLOYED}
        sampling = Sampling(**rest | self.sampling.model_dump(exclude_unset=True))
        return self.model_copy(update={"sampling": sampling})

    @property
    def kl_sampling(self) -> Sampling:
        """The sampling for the estimate of KL to base: temperature 1 without truncation, the same token budgets."""
        return self.sampling.model_copy(update={"temperature": 1.0, "top_p": 1.0, "top_k": 0})
