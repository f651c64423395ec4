"""The bare model, for comparison: one unpadded pass without a cache."""

import copy
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from rft_pipeline.engines.transformers import TransformersEngine
from rft_pipeline.rounding import all_rounded


def plain_logprobs(engine: TransformersEngine, prefix: Sequence[int], tokens: Sequence[int]) -> torch.Tensor:
    """Log-probs over the vocabulary before each of `tokens` and after the last, (T + 1) × V."""
    with torch.no_grad():
        logits_TV = engine.model(input_ids=torch.tensor([[*prefix, *tokens]]), use_cache=False).logits[0]
    return logits_TV[len(prefix) - 1 :].float().log_softmax(-1)


def picked(logprobs_TV: torch.Tensor, tokens: Sequence[int]) -> list[float]:
    """The log-prob of each of `tokens`."""
    return [float(logprobs_TV[t, token]) for t, token in enumerate(tokens)]


def other_weights(folder: Path, to: Path, dtype: str = "float32") -> dict[str, torch.Tensor]:
    """Other weights for the model in `folder`, in fp32; the model with them, as an engine of `dtype` rounds them, is
    written to `to`."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    stream = torch.Generator().manual_seed(5)
    for parameter in model.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape, generator=stream)
    written = copy.deepcopy(model)
    if dtype == "bfloat16":
        written.load_state_dict(all_rounded(model.state_dict(), seed=0))
    written.save_pretrained(to)
    for path in folder.iterdir():
        if not (to / path.name).exists():
            (to / path.name).write_bytes(path.read_bytes())
    return dict(model.state_dict())
