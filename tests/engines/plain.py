"""The bare model, for comparison: one unpadded pass without a cache."""

from collections.abc import Sequence

import torch

from rft_pipeline.engines.transformers import TransformersEngine


def plain_logprobs(engine: TransformersEngine, prefix: Sequence[int], tokens: Sequence[int]) -> torch.Tensor:
    """Log-probs over the vocabulary before each of `tokens` and after the last, (T + 1) × V."""
    with torch.no_grad():
        logits_TV = engine.model(input_ids=torch.tensor([[*prefix, *tokens]]), use_cache=False).logits[0]
    return logits_TV[len(prefix) - 1 :].float().log_softmax(-1)


def picked(logprobs_TV: torch.Tensor, tokens: Sequence[int]) -> list[float]:
    """The log-prob of each of `tokens`."""
    return [float(logprobs_TV[t, token]) for t, token in enumerate(tokens)]
