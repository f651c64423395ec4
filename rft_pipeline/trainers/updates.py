"""The weights that the optimiser updates, and those that passes compute with.

It imports only torch and accelerate. The optimiser updates fp32 weights, since an update of 1e-5 is below the
resolution of bf16. Where the device computes in bf16, passes run on these weights rounded at random (see `rounding`):
rounding to the nearest would hide most of what a short training has learnt. In one process the model holds them in
bf16, as an engine does. Several processes wrap the model, and their wrappers need gradients of the weights' type: there
the model holds the rounded numbers in fp32, and passes run under bf16 autocast.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from accelerate import Accelerator

from rft_pipeline.rounding import narrowed, rounded

if TYPE_CHECKING:
    from rft_pipeline.trainers.settings import Training


class Updates:
    """A model, perhaps wrapped for several processes, with its optimiser. Passes that compute in bf16 get weights
    rounded by `seed`."""

    def __init__(
        self, model: Any, accelerator: Accelerator, training: "Training", dtype: torch.dtype, seed: int
    ) -> None:
        self.model, self.accelerator, self.seed = model, accelerator, seed
        self.max_grad_norm = training.max_grad_norm
        rounds = dtype == torch.bfloat16 and training.weights == "full"
        self.narrow = rounds and accelerator.num_processes == 1
        """Whether the model's own weights are in bf16."""
        self._exact = self._narrowed() if self.narrow else []
        """The fp32 weights where the model's own are rounded, by name."""
        updated = [weight for _, weight in self.updated()]
        optimizer = torch.optim.AdamW(updated, lr=training.learning_rate, weight_decay=0.0, fused=True)
        self.model, self.optimizer = accelerator.prepare(model, optimizer)
        if rounds and not self.narrow:
            self._exact = [(name, local(weight).clone()) for name, weight in self._trained()]
        self._round()

    def updated(self) -> Iterator[tuple[str, torch.Tensor]]:
        """The weights that the optimiser updates, by name."""
        return iter(self._exact) if self.narrow else self._trained()

    def stored(self) -> Iterator[tuple[str, torch.Tensor]]:
        """This process's part of the fp32 weights, by name."""
        return ((name, local(weight.detach())) for name, weight in self._exact or self._trained())

    def expect(self, passes: int) -> None:
        """Prepare for the gradients of so many passes: the sum of several is in fp32."""
        for weight in self.model.parameters() if self.narrow else ():
            weight.grad_dtype = torch.float32 if passes > 1 else weight.dtype

    def step(self, learning_rate: float) -> float:
        """Move the weights along their gradients, which are gone then; the norm that these had."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        with self.exact():
            weights = [weight for _, weight in self._exact] if self.narrow else self.model.parameters()
            norm: Any = self.accelerator.clip_grad_norm_(weights, self.max_grad_norm)
            self.optimizer.step()
            self.optimizer.zero_grad()
        return float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)

    @contextmanager
    def exact(self) -> Iterator[None]:
        """While open, `updated` are the fp32 weights, with their gradients."""
        self._swap()
        yield
        self._swap()
        self._round()

    def _trained(self) -> Iterator[tuple[str, torch.Tensor]]:
        """The model's weights that are trained, by name."""
        return ((name, weight) for name, weight in self.model.named_parameters() if weight.requires_grad)

    def _narrowed(self) -> list[tuple[str, torch.Tensor]]:
        """The model's trained weights, by name, as it gets weights in bf16 in their place."""
        found = []
        for name, weight in self.model.named_parameters():
            if weight.requires_grad:
                found.append((name, torch.nn.Parameter(weight.data)))
                weight.data = torch.empty_like(weight, dtype=torch.bfloat16)
            else:
                weight.data = narrowed(name, weight, self.seed)
        return found

    def _round(self) -> None:
        for weight, (name, exact) in self._with_exact():
            rounded(name, exact, self.seed, into=local(weight.detach()))

    def _swap(self) -> None:
        """Exchange the model's weights, or in bf16 their gradients, for the fp32 ones."""
        for weight, (_, exact) in self._with_exact():
            if self.narrow:
                exact.grad = None if weight.grad is None else weight.grad.float()
                weight.grad = None
            elif is_whole(weight):
                exchange(weight, exact)
            else:  # FSDP knows its part by its place in memory
                part = local(weight.detach())
                mine = part.clone()
                part.copy_(exact)
                exact.copy_(mine)

    def _with_exact(self) -> Iterator[tuple[torch.Tensor, tuple[str, torch.Tensor]]]:
        """The model's weights that are rounded, with their names and fp32 weights."""
        mine = (weight for _, weight in self._trained())
        return zip(mine, self._exact, strict=True) if self._exact else iter(())


def exchange(weight: torch.Tensor, other: torch.Tensor) -> None:
    """Give each the numbers of the other, without a copy."""
    weight.data, other.data = other.data, weight.data


def is_whole(weight: Any) -> bool:
    """Whether this process holds all of a weight."""
    return not hasattr(weight, "to_local")


def local(weight: Any) -> torch.Tensor:
    """This process's part of a weight."""
    found: torch.Tensor = weight if is_whole(weight) else weight.to_local()
    return found
