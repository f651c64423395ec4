"""Attention of our own in place of transformers' SDPA, while a pass of ours runs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

_SDPA = "sdpa"


@contextmanager
def attending_by(attend: Callable[..., Any]) -> Iterator[None]:
    """Within it, models with SDPA attention call `attend`; afterwards, what they called before."""
    before = ALL_ATTENTION_FUNCTIONS[_SDPA]
    ALL_ATTENTION_FUNCTIONS[_SDPA] = attend
    try:
        yield
    finally:
        ALL_ATTENTION_FUNCTIONS[_SDPA] = before
