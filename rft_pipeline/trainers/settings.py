"""Settings of training."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from rft_pipeline.engines.settings import Sampling
from rft_pipeline.rules.base import REFERENCE
from rft_pipeline.strict import Strict, key_of
from rft_pipeline.trainers.dpo import Dpo
from rft_pipeline.trainers.method import Method
from rft_pipeline.trainers.methods import METHODS
from rft_pipeline.trainers.raft import Raft

ALL_LINEAR = "all-linear"


class Lora(Strict):
    rank: int = Field(default=16, ge=1)
    """Of the adapter's matrices."""
    alpha: int = Field(default=32, ge=1)
    """The adapter's output is scaled by alpha / rank."""
    target_modules: Literal["all-linear"] | tuple[str, ...] = "all-linear"
    """The modules with an adapter, by the ends of their names, e.g. [q_proj, v_proj]; `all-linear`: every linear module
    except the head."""


class TrainRuntime(Strict):
    micro_batch_size: int = Field(default=16, ge=1)
    """Maximum number of rollouts per padded pass of one process; a packed pass takes no more memory."""
    packing: Literal["auto", "off"] = "auto"
    """grpo, raft, sft: `auto` computes a group's prompt once for all its rollouts, where the model allows it; `off`
    computes it for each of them. The results are equal up to rounding."""
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    """What a step computes in; the weights themselves are float32. `auto`: bfloat16 on a GPU and on a CPU that computes
    in it, else float32."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    save_steps: int = Field(default=10, ge=1)
    """Steps between two saved states (weights and optimizer: three times the weights on disk). A killed training
    continues from the last state and ends with the same weights."""
    processes: int = Field(default=1, ge=1)
    """Number of processes, one per GPU. More than 1 are started with `accelerate launch`; `batch_size` must be a
    multiple of it."""
    accelerate_config: str | None = None
    """A file of `accelerate config` for several processes, e.g. for FSDP; the path starts at the campaign's folder.
    DeepSpeed only with `dpo`."""


class WarmStart(Strict):
    """Imitation of references before round 1, so that the rounds start from a policy that knows the kind of reply."""

    method: Literal["sft"] = "sft"
    references: str = Field(default=REFERENCE, min_length=1)
    """The column of the train prompts with the reference; or `preferred`: the replies to train prompts that people
    preferred in blind pairs (`rft labels export --pairs 40 --train`). Prompts without a reference are left out."""
    learning_rate: float = Field(default=3e-5, gt=0)
    """Of AdamW, constant."""
    epochs: int = Field(default=3, ge=1)
    """Passes over the references."""
    batch_size: int = Field(default=8, ge=1)
    """References per optimiser step."""


class Training(Strict):
    """How the policy is trained on a round's reward batch.

    `grpo` makes rollouts above their group's mean more likely and those below less likely. `raft` imitates each group's
    best. `dpo` learns to prefer each group's best over its worst, or the reply that people prefer
    (`rft labels export --pairs 40 --train`) over the other. `sft` imitates the reply with the best labels, or the
    prompt's reference.
    """

    method: Annotated[str, key_of(METHODS, "a training method")] = "grpo"
    """`grpo`, `raft`, `dpo` or `sft`."""
    warm_start: WarmStart | None = None
    """Imitates references before round 1."""
    weights: Literal["full", "lora"] = "full"
    """All weights, or an adapter on them."""
    freeze_embeddings: bool = False
    """With `weights: full`: whether the embeddings of tokens, and the head if it has weights of its own, stay as they
    are. Training takes less memory and time; a small model has a fifth or more of its weights there."""
    learning_rate: float = Field(default=1e-5, gt=0)
    """Of AdamW."""
    warmup_steps: int = Field(default=0, ge=0)
    """Steps in which the learning rate rises to its value."""
    epochs: int = Field(default=1, ge=1)
    """Passes over the rollouts of a generation."""
    batch_size: int = Field(default=16, ge=1)
    """Rollouts per optimiser step; with `dpo`, pairs of rollouts."""
    steps_per_generation: int | None = Field(default=1, ge=1)
    """Optimiser steps between two samplings: a round is cut into generations, and each is sampled from the policy as it
    then is. Null: the round is sampled at once, before its first step; so with `dpo` and `sft`."""
    generations_ahead: Literal[0, 1] = 0
    """1: the next generation is sampled while the judges answer for the present one, so from the policy before its
    steps; likelihood ratios are those to the policy that sampled. It saves time only with a judge behind a server."""
    mask_truncated: bool = False
    """Whether rollouts that were cut off at `max_new_tokens` are left out; they still count in their group's mean."""
    mask_thinking: bool = False
    """Whether the thoughts of a reasoning model are left out of the loss, so that only answers are trained on."""
    clip_low: float = Field(default=0.2, gt=0, lt=1)
    """grpo: the likelihood ratio of a token is clipped to [1 − `clip_low`, 1 + `clip_high`]."""
    clip_high: float = Field(default=0.28, gt=0)
    kl_beta: float = Field(default=0.0, ge=0)
    """grpo: weight of the KL penalty."""
    kl_to: Literal["base", "start"] = "base"
    """grpo: the reference of the KL penalty: the campaign's base model, or the start of the round."""
    loss_type: Literal["dapo", "grpo", "dr_grpo", "bnpo"] = "dapo"
    """grpo: the normalisation of the loss. `dapo`: equal weight for every token of the round; `grpo`: for every
    rollout; `bnpo`: for every token of a step; `dr_grpo` (arXiv 2503.20783): the sum over a step's tokens, divided by
    its number of rollouts times `rollouts.sampling.max_new_tokens`, so that weights do not depend on lengths."""
    max_negative_ratio: float | None = Field(default=None, ge=1)
    """grpo: maximum likelihood ratio of a token with a negative advantage, which limits how strongly a rollout that
    became more likely is pushed down (1 in TOPR, arXiv 2503.14286). Null: no limit."""
    min_effective_share: float | None = Field(default=None, gt=0, le=1)
    """grpo: the round ends when the effective sample size (Σw)²/Σw² of a step falls below this share of its rollouts; w
    are their likelihood ratios to the policy that sampled them. Null: never."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Gradients are scaled down to this norm."""
    generations_after_edit: int | None = Field(default=None, ge=1)
    """How many generations an edit cycle samples (`on_rubric_change: continue`). Null: a quarter of a round's, at least
    1."""
    raft: Raft = Raft()
    dpo: Dpo = Dpo()
    lora: Lora = Lora()
    runtime: TrainRuntime = TrainRuntime()

    @property
    def identity(self) -> dict[str, Any]:
        """Without the settings of other methods, which change nothing."""
        others = {"generations_after_edit", "warm_start"}
        others |= {name for each in METHODS.values() if each.name != self.method for name in each.own_settings}
        if not self.kl_beta:
            others.add("kl_to")
        if self.weights != "lora":
            others.add("lora")
        if self.steps_per_generation is None:
            others.add("generations_ahead")
        return {name: value for name, value in super().identity.items() if name not in others}

    @property
    def how(self) -> Method:
        """The method."""
        return METHODS[self.method]

    def longest(self, sampling: Sampling) -> int:
        """Maximum number of a reply's tokens that count in the loss."""
        return sampling.max_new_tokens if self.mask_thinking else sampling.budget

    @property
    def of_warm_start(self) -> "Training":
        """The training of the warm start, with what it shares with that of the rounds."""
        assert self.warm_start is not None
        own = {name: getattr(self.warm_start, name) for name in ("method", "learning_rate", "epochs", "batch_size")}
        common = ("weights", "freeze_embeddings", "lora", "max_grad_norm", "runtime")
        shared = {name: getattr(self, name) for name in common}
        return Training(**own, **shared)

    def from_folder(self, folder: Path) -> Self:
        """With absolute paths."""
        config = self.runtime.accelerate_config
        if config is None:
            return self
        return self.model_copy(
            update={"runtime": self.runtime.model_copy(update={"accelerate_config": str(folder / config)})}
        )

    @model_validator(mode="before")
    @classmethod
    def _whole_round_by_default(cls, value: Any) -> Any:
        """Methods that cannot train in generations sample the round at once."""
        if isinstance(value, dict) and "steps_per_generation" not in value:
            how = METHODS.get(str(value.get("method", "grpo")))
            if how is not None and how.why_not_in_generations:
                return {**value, "steps_per_generation": None}
        return value

    @model_validator(mode="after")
    def _method_takes_generations(self) -> Self:
        if self.steps_per_generation is not None and self.how.why_not_in_generations:
            raise ValueError(
                f"steps_per_generation: {self.how.why_not_in_generations}, so the round is sampled at once; remove the "
                "key or set it to null"
            )
        return self

    @model_validator(mode="after")
    def _adapter_freezes(self) -> Self:
        if self.freeze_embeddings and self.weights == "lora":
            raise ValueError("freeze_embeddings: an adapter leaves the embeddings as they are; remove the key")
        return self

    @model_validator(mode="after")
    def _method_masks(self) -> Self:
        if self.mask_thinking and self.method == "dpo":
            raise ValueError("mask_thinking: dpo compares whole replies; remove the key, or use grpo, raft or sft")
        return self

    @model_validator(mode="after")
    def _ahead_needs_generations(self) -> Self:
        if self.generations_ahead and self.steps_per_generation is None:
            raise ValueError(
                f"generations_ahead: {self.generations_ahead} needs a round in generations; set steps_per_generation "
                "to a number, or generations_ahead to 0"
            )
        return self

    @model_validator(mode="after")
    def _warm_start_fits(self) -> Self:
        if self.warm_start is not None and self.warm_start.batch_size % self.runtime.processes:
            raise ValueError(
                f"warm_start.batch_size: {self.warm_start.batch_size} references cannot be divided among "
                f"{self.runtime.processes} processes; use a multiple of runtime.processes"
            )
        return self

    @model_validator(mode="after")
    def _processes_fit(self) -> Self:
        if self.batch_size % self.runtime.processes:
            raise ValueError(
                f"batch_size: {self.batch_size} rollouts cannot be divided among {self.runtime.processes} processes; "
                "use a multiple of runtime.processes"
            )
        if self.runtime.accelerate_config is not None and self.runtime.processes == 1:
            raise ValueError(
                "runtime.accelerate_config: only used with runtime.processes above 1; set processes to the "
                "number of GPUs, or remove the file"
            )
        return self
