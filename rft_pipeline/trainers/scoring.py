"""Log-probs of reply tokens with gradients, from a model's own forward pass.

Axes: B sequences, S positions, N reply tokens, H hidden size, V vocabulary.
Architectures differ after the hidden states: the head may have a bias, a scale or a cap. So the model's own `forward`
runs, and a hook on its head selects the N positions to project.
"""

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from rft_pipeline.errors import ModelError
from rft_pipeline.trainers.passes import Pass
from rft_pipeline.trainers.shared_prompt import sharing_prompts


@dataclass(frozen=True)
class ScoredTokens:
    """Of each reply token; only `logprobs_N` has a gradient."""

    logprobs_N: torch.Tensor
    """Log-probs at the given temperature, in nats."""
    untempered_N: torch.Tensor
    """Log-probs at temperature 1."""
    entropy_N: torch.Tensor
    """Entropies of the distributions at the given temperature, in nats."""
    top_N: torch.Tensor
    """1 where the token is the most likely one, else 0."""
    balance: torch.Tensor | None
    """The load-balancing loss of a mixture of experts, where asked for."""


def score(model: Any, head: Any, part: Pass, temperature: float, balance: bool = False) -> ScoredTokens:
    """Run one pass. `head` is the model's language-model head; `model` may be wrapped for several processes.

    Raises `ModelError` if the model does not use its head once.
    """
    seen: list[torch.Tensor] = []

    def select(_: Any, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        seen.append(args[0])
        return (args[0][part.sequence_N, part.position_N].unsqueeze(0), *args[1:])

    routed = {"output_router_logits": True} if balance else {}
    packed = sharing_prompts(part.inputs["attention_mask"], part.spans) if part.spans else nullcontext()
    with head.register_forward_pre_hook(select), packed:
        output = model(**part.inputs, use_cache=False, **routed)
    if len(seen) != 1:
        raise ModelError(f"{type(model).__name__}: an architecture without a language-model head cannot be trained")
    logprobs_N, untempered_N, entropy_N, top_N = _TokenLogProbs.apply(output.logits[0], part.tokens_N, temperature)
    return ScoredTokens(logprobs_N, untempered_N, entropy_N, top_N, output.aux_loss if balance else None)


class _TokenLogProbs(torch.autograd.Function):
    """Log-probs of chosen tokens without a copy of all log-probs.

    Rows are processed in blocks that fit into a CPU core's cache, in fp32 whatever the logits' type. Backward computes
    the softmax again from the logits and the log-sum-exp.
    """

    @staticmethod
    def forward(ctx: Any, logits_NV: torch.Tensor, tokens_N: torch.Tensor, temperature: float) -> Any:
        columns = []
        for logits, tokens in zip(*_blocks(logits_NV, tokens_N), strict=True):
            z = logits.float()
            chosen, highest = z.gather(1, tokens[:, None])[:, 0], z.amax(1)
            plain = z.logsumexp(1)
            if temperature != 1:
                z = z / temperature
            lse = plain if temperature == 1 else z.logsumexp(1)
            entropy = lse - ((z - lse[:, None]).exp_() * z).sum(1)
            columns.append((chosen / temperature - lse, chosen - plain, entropy, (chosen == highest).float(), lse))
        *found, lse_N = (torch.cat(column) for column in zip(*columns, strict=True))
        ctx.save_for_backward(logits_NV, tokens_N, lse_N)
        ctx.temperature = temperature
        ctx.mark_non_differentiable(*found[1:])
        return tuple(found)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        logits_NV, tokens_N, lse_N = ctx.saved_tensors
        grad_NV = torch.empty_like(logits_NV)
        scaled_N = grads[0] / ctx.temperature
        for grad, logits, tokens, lse, scaled in zip(
            *_blocks(grad_NV, logits_NV, tokens_N, lse_N, scaled_N), strict=True
        ):
            z = logits.float()
            if ctx.temperature != 1:
                z = z / ctx.temperature
            softmax = (z - lse[:, None]).exp_()
            softmax.scatter_add_(1, tokens[:, None], torch.full_like(lse, -1.0)[:, None])
            grad.copy_(softmax.mul_(-scaled[:, None]))
        return grad_NV, None, None


def _blocks(*tensors: torch.Tensor) -> list[tuple[torch.Tensor, ...]]:
    return [tensor.split(16 if tensor.device.type == "cpu" else 1024) for tensor in tensors]
