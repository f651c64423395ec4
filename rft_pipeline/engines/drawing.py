"""Drawing the next token of each row: one uniform number from the row's own stream, and a cumulative sum.

Axes: B rows, V vocabulary, N blocks of the vocabulary, W tokens of a block, T steps.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from rft_pipeline.engines.settings import Sampling

_BLOCK = 256
"""Tokens of a block: the sum runs over blocks first and then over the tokens of one block."""
_CANDIDATES = (64, 512)
"""The likeliest tokens that are sorted to find the edge of `top_p`, before all are."""
_CACHED = 16
"""Rows that are worked on at once on a CPU: they fit into a core's cache."""


class SeededDraw:
    """Draws the tokens of B rows, each from its own stream, so that no row depends on the others of its batch.

    Truncation keeps every token whose logit is at least the last one kept, so tokens of equal logits are kept together
    and nothing depends on how a sort orders them.
    """

    def __init__(self, seeds_B: Sequence[int], sampling: "Sampling", device: str) -> None:
        self.sampling = sampling
        streams = (torch.Generator().manual_seed(seed) for seed in seeds_B)
        numbers = [torch.rand(sampling.budget, generator=stream, dtype=torch.float64) for stream in streams]
        self.uniform_BT = torch.stack(numbers).to(device)
        self.step = 0

    def keep(self, rows: torch.Tensor) -> None:
        """Draw only for these rows from now on."""
        self.uniform_BT = self.uniform_BT[rows]

    def __call__(self, logits_BV: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The next token of each row, and its log-prob in nats at temperature 1 without truncation."""
        uniform_B = self.uniform_BT[:, self.step]
        self.step += 1
        at_once = _CACHED if logits_BV.device.type == "cpu" else len(logits_BV)
        drawn = [
            self._draw(logits.float(), uniform)
            for logits, uniform in zip(logits_BV.split(at_once), uniform_B.split(at_once), strict=True)
        ]
        tokens, logprobs = zip(*drawn, strict=True)
        return torch.cat(tokens), torch.cat(logprobs)

    def _draw(self, logits_BV: torch.Tensor, uniform_B: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        norm_B1 = logits_BV.logsumexp(-1, keepdim=True)
        if self.sampling.temperature == 0:
            token_B1 = logits_BV.argmax(-1, keepdim=True)
        else:
            token_B1 = draw(weights(logits_BV, self.sampling), uniform_B)
        return token_B1.squeeze(1), (logits_BV.gather(1, token_B1) - norm_B1).squeeze(1)


def weights(logits_BV: torch.Tensor, sampling: "Sampling") -> torch.Tensor:
    """Weights of the tokens (B × V, largest 1), proportional to their probability; those cut off have weight 0.

    Temperature first, then `top_k`, then `top_p` of what is left, as in transformers and vLLM.
    """
    top_B1 = logits_BV.amax(-1, keepdim=True)
    weight_BV = (logits_BV - top_B1).div_(sampling.temperature).exp_()
    if 0 < sampling.top_k < weight_BV.shape[1]:
        edge_B1 = weight_BV.topk(sampling.top_k).values[:, -1:]
        weight_BV.masked_fill_(weight_BV < edge_B1, 0)
    if sampling.top_p < 1:
        weight_BV.masked_fill_(weight_BV < nucleus_edge(weight_BV, sampling.top_p), 0)
    return weight_BV


def nucleus_edge(weight_BV: torch.Tensor, top_p: float) -> torch.Tensor:
    """The smallest weight (B × 1) in the smallest set of the likeliest tokens that holds the share `top_p`."""
    wanted_B = weight_BV.sum(-1, dtype=torch.float64) * top_p
    edge_B1 = torch.zeros_like(weight_BV[:, :1])
    rows = torch.arange(len(weight_BV), device=weight_BV.device)
    whole = weight_BV.shape[1]
    for size in (*(size for size in _CANDIDATES if size < whole), whole):
        sorted_RK = weight_BV[rows].topk(size).values
        before_RK = sorted_RK.cumsum(-1, dtype=torch.float64) - sorted_RK
        last_R1 = (before_RK < wanted_B[rows, None]).sum(-1, keepdim=True) - 1
        edge_B1[rows] = sorted_RK.gather(1, last_R1)
        rows = rows[last_R1.squeeze(1) == size - 1]
        if not len(rows):
            break
    return edge_B1


def draw(weight_BV: torch.Tensor, uniform_B: torch.Tensor) -> torch.Tensor:
    """The token (B × 1) at which the cumulative weight, in the vocabulary's order, passes the share `uniform_B`.

    Sums are in fp64, over blocks first: over 150,000 tokens in fp32 they would lose the unlikely ones.
    """
    padding = -weight_BV.shape[1] % _BLOCK
    weight_BNW = torch.nn.functional.pad(weight_BV, (0, padding)).unflatten(1, (-1, _BLOCK))
    block_B1, left_B1 = _passing(weight_BNW.sum(-1, dtype=torch.float64), uniform_B[:, None], share=True)
    weight_BW = weight_BNW.gather(1, block_B1[:, :, None].expand(-1, -1, _BLOCK)).squeeze(1)
    token_B1, _ = _passing(weight_BW.double(), left_B1)
    return block_B1 * _BLOCK + token_B1


def _passing(
    weight_BX: torch.Tensor, wanted_B1: torch.Tensor, share: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """The first place where the cumulative weight exceeds what is wanted, and what is wanted of that place itself.

    Such a place has a positive weight: the sum does not grow where the weight is 0.
    """
    cumulative_BX = weight_BX.cumsum(-1)
    total_B1 = cumulative_BX[:, -1:]
    if share:
        wanted_B1 = wanted_B1 * total_B1
    wanted_B1 = wanted_B1.minimum(total_B1.nextafter(torch.zeros_like(total_B1)))
    place_B1 = (cumulative_BX <= wanted_B1).sum(-1, keepdim=True)
    return place_B1, wanted_B1 - (cumulative_BX - weight_BX).gather(1, place_B1)
