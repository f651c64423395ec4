"""Settings of training: the methods, and how they run."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from rft_pipeline.strict import Strict

ALL_LINEAR = "all-linear"


class Lora(Strict):
    rank: int = Field(default=16, ge=1)
    alpha: int = Field(default=32, ge=1)
    target_modules: Literal["all-linear"] | tuple[str, ...] = "all-linear"
    """The modules that get an adapter, by the ends of their names, e.g. [q_proj, v_proj]; `all-linear`: every linear
    module but the head, whatever the architecture calls it."""


class Raft(Strict):
    best: int = Field(default=1, ge=1)
    """Rollouts of each group that are imitated: those of the highest rewards."""


class Dpo(Strict):
    beta: float = Field(default=0.1, gt=0)
    """Holds the policy to the one the round started from: the larger, the closer."""
    margin: float = Field(default=0.1, ge=0, le=1)
    """Least difference in reward between a group's best and worst rollout; a closer pair is left out."""


class TrainRuntime(Strict):
    micro_batch_size: int = Field(default=16, ge=1)
    """Rollouts in one forward and backward pass of one process; at most `batch_size`."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    save_steps: int = Field(default=10, ge=1)
    """Steps between two saved states (weights and optimizer: three times the weights on the disk). A training that is
    killed goes on from the last one and ends with the same weights as one that nobody disturbed."""
    processes: int = Field(default=1, ge=1)
    """More than 1 trains with so many processes, one a GPU, through `accelerate launch`; they share each step's
    `batch_size`, which must be a multiple of their number."""
    accelerate_config: str | None = None
    """The file of `accelerate config` to launch them with, e.g. for FSDP; the path starts at the campaign's folder.
    Refused with one process, which nothing launches."""


class Training(Strict):
    """How a round's reward batch changes the policy.

    `grpo` raises the likelihood of rollouts above their group's mean and lowers that of those below; `raft` imitates
    each group's best; `dpo` learns to prefer each group's best over its worst; `sft` imitates good answers from people,
    as a start for the others: of each prompt the best reply that people judged, else the prompt's reference.
    """

    method: Literal["grpo", "raft", "dpo", "sft"] = "grpo"
    weights: Literal["full", "lora"] = "full"
    learning_rate: float = Field(default=1e-5, gt=0)
    warmup_steps: int = Field(default=0, ge=0)
    epochs: int = Field(default=1, ge=1)
    batch_size: int = Field(default=16, ge=1)
    """Rollouts in one optimiser step; with `dpo`, pairs of rollouts."""
    mask_truncated: bool = False
    """Leaves rollouts that were cut off at `max_new_tokens` out of training; they still count in their group's mean."""
    clip_low: float = Field(default=0.2, gt=0, lt=1)
    """grpo: a token's likelihood ratio below 1 − this, or above 1 + `clip_high`, earns nothing more."""
    clip_high: float = Field(default=0.28, gt=0)
    kl_beta: float = Field(default=0.0, ge=0)
    """grpo: weight of the KL penalty."""
    kl_to: Literal["base", "start"] = "base"
    """grpo: what the KL is to: the model the campaign began with, or the one the round started from."""
    loss_type: Literal["dapo", "grpo", "dr_grpo", "bnpo"] = "dapo"
    """grpo: how tokens are averaged. `dapo`: every token of the round weighs the same; `grpo`: every rollout does;
    `bnpo`: every token of a step; `dr_grpo` (arXiv 2503.20783): the sum over a step's tokens, divided by its rollouts
    times the constant `rollouts.sampling.max_new_tokens`, so that no rollout's weight depends on any length."""
    max_negative_ratio: float | None = Field(default=None, ge=1)
    """grpo: cap of a token's likelihood ratio where the advantage is negative: a bad rollout that has become likelier
    is pushed down no harder than at this ratio (1 as in TOPR, arXiv 2503.14286). Null: no cap."""
    min_effective_share: float | None = Field(default=None, gt=0, le=1)
    """grpo: the rest of the round's steps is skipped once the effective sample size (Σw)²/Σw² of a step's rollouts,
    w their likelihood ratios to the policy that sampled them, falls below this share of their number. Null: never."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    raft: Raft = Raft()
    dpo: Dpo = Dpo()
    lora: Lora = Lora()
    runtime: TrainRuntime = TrainRuntime()

    @property
    def identity(self) -> dict[str, Any]:
        """Without the settings of other methods: editing those changes nothing."""
        others = {name for method, names in _ONLY.items() if method != self.method for name in names}
        if not self.kl_beta:
            others.add("kl_to")
        return {name: value for name, value in super().identity.items() if name not in others}

    @property
    def needs_differences(self) -> bool:
        """Whether groups must hold better and worse replies; `sft` learns from references and people's choice."""
        return self.method != "sft"

    @property
    def held_to_base(self) -> bool:
        """Whether the loss looks at the model the campaign began with."""
        return self.method == "grpo" and self.kl_beta > 0 and self.kl_to == "base"

    def from_folder(self, folder: Path) -> Self:
        """With paths that start at a campaign's folder spelled out."""
        config = self.runtime.accelerate_config
        if config is None:
            return self
        return self.model_copy(
            update={"runtime": self.runtime.model_copy(update={"accelerate_config": str(folder / config)})}
        )

    @model_validator(mode="after")
    def _processes_fit(self) -> Self:
        if self.batch_size % self.runtime.processes:
            raise ValueError(
                f"batch_size: {self.batch_size} rollouts cannot be shared by {self.runtime.processes} processes; take "
                "a multiple of runtime.processes"
            )
        if self.runtime.accelerate_config is not None and self.runtime.processes == 1:
            raise ValueError(
                "runtime.accelerate_config: only read with runtime.processes above 1, which is 1; set processes to the "
                "number of GPUs, or leave the file out"
            )
        return self


_ONLY: dict[str, tuple[str, ...]] = {
    "grpo": ("clip_low", "clip_high", "kl_beta", "kl_to", "loss_type", "max_negative_ratio", "min_effective_share"),
    "raft": ("raft",),
    "dpo": ("dpo",),
    "sft": (),
}
"""Settings that one method alone reads."""
