"""Attention of one new token per row, where several query heads share a head of keys and values.

Axes: B rows, H query heads, K heads of keys and values, G = H / K, D size of a head, L positions.
"""

from contextlib import AbstractContextManager
from typing import Any

import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from rft_pipeline.engines.attention import attending_by


def grouped_attention() -> AbstractContextManager[None]:
    """Within it, models with SDPA attention decode without a copy of the keys and values for each query head.

    transformers copies the cache G times in each step, as SDPA on a CPU, or with a mask, takes no fewer heads of keys.
    """
    return attending_by(_attend)


def _attend(
    module: Any,
    query_BHTD: torch.Tensor,
    key_BKLD: torch.Tensor,
    value_BKLD: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *args: Any,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """The G query heads of a head of keys become G positions of one query: the same sums without a copy."""
    B, H, T, D = query_BHTD.shape
    K = key_BKLD.shape[1]
    one_mask = attention_mask is None or attention_mask.shape[1] == 1
    if T != 1 or K == H or not one_mask or args or kwargs.get("position_bias") is not None or kwargs.get("cache"):
        return sdpa_attention_forward(module, query_BHTD, key_BKLD, value_BKLD, attention_mask, *args, **kwargs)
    out_BKGD = torch.nn.functional.scaled_dot_product_attention(
        query_BHTD.reshape(B, K, H // K, D),
        key_BKLD,
        value_BKLD,
        attn_mask=attention_mask,
        dropout_p=kwargs.get("dropout", 0.0),
        scale=kwargs.get("scaling"),
    )
    return out_BKGD.reshape(B, 1, H, -1), None
