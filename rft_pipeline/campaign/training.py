"""From scores to an update."""

from typing import Literal

from pydantic import Field

from rft_pipeline.strict import Strict


class Reward(Strict):
    """From judgements to the numbers that train."""

    damping: float = Field(default=0.1, ge=0)
    """Added to a criterion's spread within a group: one that is nearly constant there is damped, not amplified."""
    clip: float = Field(default=3.0, gt=0)
    """Advantages beyond ± this are clipped."""
    min_group_share: float = Field(default=0.5, ge=0, le=1)
    """Training is refused when fewer than this share of the groups can teach anything."""


class Lora(Strict):
    rank: int = Field(default=16, ge=1)
    alpha: int = Field(default=32, ge=1)
    target_modules: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class TrainRuntime(Strict):
    micro_batch_size: int = Field(default=16, ge=1)
    """Rollouts in one forward and backward pass; at most `batch_size`."""
    device: Literal["auto", "cpu", "cuda"] = "auto"


class Training(Strict):
    """GRPO over the materialised batch."""

    method: Literal["grpo"] = "grpo"
    weights: Literal["full", "lora"] = "full"
    learning_rate: float = Field(default=1e-5, gt=0)
    warmup_steps: int = Field(default=0, ge=0)
    epochs: int = Field(default=1, ge=1)
    batch_size: int = Field(default=16, ge=1)
    """Rollouts in one optimiser step."""
    clip_low: float = Field(default=0.2, gt=0, lt=1)
    clip_high: float = Field(default=0.28, gt=0)
    kl_beta: float = Field(default=0.0, ge=0)
    """Weight of the KL to the model the round started from."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    lora: Lora = Lora()
    runtime: TrainRuntime = TrainRuntime()
