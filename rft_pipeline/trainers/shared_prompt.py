"""Attention of packed sequences without the parts that the mask forbids.

Axes: B sequences, S positions, R replies of a sequence, L tokens of its longest reply, P tokens of its prompt, H heads
of queries, K heads of keys, D features of a head.
With a mask, attention computes all S × S scores. Here the prompt attends to itself, and each reply, in a batch of R, to
the prompt and itself: P² + R·L·(P + L) scores. The mask stays for models that compute attention in another way.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from rft_pipeline.engines.attention import attending_by

MOST_SCORES = 2**23
"""Maximum number of attention scores of a sequence's replies that are kept in memory in each layer."""


Parts = tuple[torch.Tensor, torch.Tensor]
"""Keys or values of the prompt (K × P × D) and of the replies (R × K × L × D)."""


class Span(NamedTuple):
    """A packed sequence: a prompt, and its replies one after the other."""

    prompt: int
    replies: tuple[int, ...]
    """Tokens of each."""


_pass = threading.local()
"""`mask` and `spans` of the packed pass in this thread."""


@contextmanager
def sharing_prompts(mask: torch.Tensor, spans: list[Span]) -> Iterator[None]:
    """While open, a model in this thread that is given this mask (B × 1 × S × S) computes attention by the spans."""
    _pass.mask, _pass.spans = mask, spans
    try:
        with attending_by(_attend):
            yield
    finally:
        del _pass.mask, _pass.spans


def _attend(
    module: Any, query: Any, key: Any, value: Any, attention_mask: torch.Tensor | None, **how: Any
) -> tuple[torch.Tensor, None]:
    """Stands in for transformers' own function, which is called with parts of the queries and keys."""
    packed = getattr(_pass, "mask", None)
    if packed is None or attention_mask is not packed:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **how)
    heads = [each.to(_pass.mask.dtype) for each in (query, key, value)]
    found = []
    for b, span in enumerate(_pass.spans):
        found.append(_of_sequence(module, span, *(each[b : b + 1] for each in heads), **how))
    return torch.cat(found), None


def _of_sequence(module: Any, span: Span, query: Any, key: Any, value: Any, **how: Any) -> torch.Tensor:
    """Attention of one sequence (1 × heads × S × D, also of keys) as 1 × S × heads × D."""
    prompt, end = span.prompt, span.prompt + sum(span.replies)
    of_prompt, _ = sdpa_attention_forward(module, *(each[:, :, :prompt] for each in (query, key, value)), None, **how)

    def replies(states: Any) -> Any:
        """R × heads × L × D; shorter replies are padded at the end."""
        parts = states[0, :, prompt:end].transpose(0, 1).split(span.replies)
        return pad_sequence(list(parts), batch_first=True).transpose(1, 2)

    query_RHLD = replies(query)
    keys = key[0, :, :prompt], replies(key)
    values = value[0, :, :prompt], replies(value)
    if query.device.type == "cpu" and query_RHLD[..., 0].numel() * (prompt + query_RHLD.shape[2]) <= MOST_SCORES:
        of_replies = _by_matrices(query_RHLD, keys, values, how.get("scaling"))
    else:
        of_replies = _by_kernel(module, query_RHLD, keys, values, **how)
    rest = of_prompt.new_zeros(query.shape[2] - end, *of_prompt.shape[2:])
    ours = [reply[:tokens] for reply, tokens in zip(of_replies, span.replies, strict=True)]
    return torch.cat([of_prompt[0], *ours, rest])[None]


def _by_kernel(module: Any, query_RHLD: Any, keys: Parts, values: Parts, **how: Any) -> torch.Tensor:
    """Attention of the replies as R × L × H × D, with a copy of the prompt's keys and values for each."""
    count, _, length, _ = query_RHLD.shape
    key, value = (torch.cat([shared.expand(count, -1, -1, -1), own], dim=2) for shared, own in (keys, values))
    prompt = key.shape[2] - length
    hidden = torch.ones(length, prompt + length, dtype=torch.bool, device=key.device).triu(prompt + 1)
    mask = torch.zeros(hidden.shape, dtype=key.dtype, device=key.device)
    mask.masked_fill_(hidden, torch.finfo(key.dtype).min)
    found, _ = sdpa_attention_forward(module, query_RHLD, key, value, mask[None, None], **how)
    return found


def _by_matrices(query_RHLD: Any, keys: Parts, values: Parts, scaling: float | None) -> torch.Tensor:
    """The same by matrix products, where H/K query heads share a key head: on a CPU, and with all scores in memory, it
    is two to three times as fast."""
    replies, heads, length, width = query_RHLD.shape
    key_KPD, value_KPD = keys[0], values[0]
    shared, prompt, _ = key_KPD.shape
    query = query_RHLD.transpose(0, 1).reshape(shared, heads // shared, replies, length, width)
    own_key, own_value = (own.transpose(0, 1)[:, None] for _, own in (keys, values))
    to_prompt = query.reshape(shared, -1, width) @ key_KPD.transpose(1, 2)
    to_own = query @ own_key.transpose(-1, -2)
    hidden = torch.ones(length, length, dtype=torch.bool).triu(1)
    to_own = to_own.masked_fill(hidden, torch.finfo(to_own.dtype).min)
    scores = torch.cat([to_prompt.view(*to_own.shape[:-1], prompt), to_own], dim=-1)
    weights = (scores * (width**-0.5 if scaling is None else scaling)).softmax(-1)
    of_prompt = weights[..., :prompt].reshape(shared, -1, prompt) @ value_KPD
    found = of_prompt.view(*query.shape[:-1], -1) + weights[..., prompt:] @ own_value
    return found.reshape(heads, replies, length, -1).permute(1, 2, 0, 3)
