"""Attention of packed sequences without the parts that the mask forbids.

Axes: B sequences, S positions, R replies of a sequence, L tokens of its longest reply, P tokens of its prompt, D
features of a head.
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
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS


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
    heads = [each.to(packed.dtype) for each in (query, key, value)]
    found = []
    for b, span in enumerate(_pass.spans):
        found.append(_of_sequence(module, span, *(each[b : b + 1] for each in heads), **how))
    return torch.cat(found), None


def _of_sequence(module: Any, span: Span, query: Any, key: Any, value: Any, **how: Any) -> torch.Tensor:
    """Attention of one sequence (1 × heads × S × D, also of keys) as 1 × S × heads × D."""
    prompt, count = span.prompt, len(span.replies)
    of_prompt, _ = sdpa_attention_forward(module, *(each[:, :, :prompt] for each in (query, key, value)), None, **how)

    def replies(states: Any) -> torch.Tensor:
        """R × heads × L × D; shorter replies are padded at the end."""
        parts = states[0, :, prompt : prompt + sum(span.replies)].transpose(0, 1).split(span.replies)
        return pad_sequence(list(parts), batch_first=True).transpose(1, 2)

    def behind_prompt(states: Any) -> torch.Tensor:
        """R × heads × (P + L) × D."""
        return torch.cat([states[:, :, :prompt].expand(count, -1, -1, -1), replies(states)], dim=2)

    length = max(span.replies)
    allowed = torch.ones(length, prompt + length, dtype=torch.bool, device=query.device).tril(prompt)
    mask = torch.zeros(allowed.shape, dtype=query.dtype, device=query.device)
    mask.masked_fill_(~allowed, torch.finfo(query.dtype).min)
    of_replies, _ = sdpa_attention_forward(
        module, replies(query), behind_prompt(key), behind_prompt(value), mask[None, None], **how
    )
    rest = of_prompt.new_zeros(query.shape[2] - prompt - sum(span.replies), *of_prompt.shape[2:])
    own = [reply[:tokens] for reply, tokens in zip(of_replies, span.replies, strict=True)]
    return torch.cat([of_prompt[0], *own, rest])[None]


ALL_ATTENTION_FUNCTIONS["sdpa"] = _attend
