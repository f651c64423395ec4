"""Turns float32 weights into bfloat16 without losing small updates.

The weights of most models are bfloat16 numbers. Two neighbours are 0.4 to 0.8 % of their size apart, more than a
weight moves in a short training, so rounding to the nearest would undo most of it. Here a weight is rounded up or down
at random, the nearer neighbour the likelier (stochastic rounding): its mean is kept, and so is what many weights have
learnt together. A weight that is a bfloat16 number stays as it is.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rft_pipeline.fingerprint import seed_of

if TYPE_CHECKING:
    import torch

_TILE = 1 << 20
"""Random numbers that are drawn for a weight; a larger weight uses them several times."""
_LOWER, _UPPER = 1 << 16, -(1 << 16)
"""A bfloat16 number is a float32 number whose lower 16 bits are 0."""


def rounded(name: str, weight: "torch.Tensor", seed: int, into: "torch.Tensor | None" = None) -> "torch.Tensor":
    """The float32 tensor `weight` with bfloat16 numbers: a new tensor in float32, or the contiguous `into`, in float32
    or bfloat16, if it is given. The random numbers are those of `seed` and `name`."""
    import torch

    exact = weight.detach().contiguous().view(-1)
    found = torch.empty_like(weight, memory_format=torch.contiguous_format) if into is None else into
    generator = torch.Generator().manual_seed(seed_of(seed, "rounding", name))
    noise = torch.randint(_LOWER, (min(_TILE, exact.numel()),), generator=generator, dtype=torch.int32)
    noise = noise.to(exact.device)
    for part, target in zip(exact.split(_TILE), found.detach().view(-1).split(_TILE), strict=True):
        bits = part.view(torch.int32) + noise[: part.numel()]
        target.copy_(bits.bitwise_and_(_UPPER).view(torch.float32))
    return found


def narrowed(name: str, weight: "torch.Tensor", seed: int) -> "torch.Tensor":
    """The float32 tensor `weight` in bfloat16, rounded as by `rounded`; nothing is drawn where it is in bfloat16."""
    import torch

    nearest = weight.detach().bfloat16()
    return nearest if torch.equal(nearest.float(), weight) else rounded(name, weight, seed, into=nearest)


def all_rounded(weights: Mapping[str, "torch.Tensor"], seed: int) -> dict[str, "torch.Tensor"]:
    """The float32 ones of `weights` in bfloat16. Names of one tensor are names of one tensor in the result."""
    import torch

    made: dict[tuple[int, torch.Size], torch.Tensor] = {}
    for name, weight in weights.items():
        place = (weight.data_ptr(), weight.shape)
        if place not in made:
            made[place] = narrowed(name, weight, seed) if weight.dtype == torch.float32 else weight
    return {name: made[weight.data_ptr(), weight.shape] for name, weight in weights.items()}
