"""Decides whether a model can be trained on packed sequences: once, when it is loaded."""

import inspect
import logging
from typing import Any

import torch

from rft_pipeline.trainers.passes import PassLayout, PassPlan, collate
from rft_pipeline.trainers.rows import TrainingRow
from rft_pipeline.trainers.scoring import score

log = logging.getLogger(__name__)

TOLERANCE = 1e-3
"""Maximum difference in nats between a token's log-probs in fp32, packed and alone."""
_PROMPT, _REPLIES = 9, (6, 3, 7)
"""Tokens of the group that is compared."""


def layout_of(model: Any, head: Any, micro_batch_size: int, packing: str, balances: bool) -> PassLayout:
    """How the rows of a model are divided into passes; with `packing` `auto`, packed where the model can do it.

    `balances` tells whether the loss has a part for the balance of experts, which is a mean over all positions of a
    pass, so packing would change it.
    """
    if packing == "off":
        return PassLayout(micro_batch_size, packs=False)
    if reason := _refusal(model, head, balances):
        log.warning(f"training with padding instead of packed sequences: {type(model).__name__} {reason}")
        return PassLayout(micro_batch_size, packs=False)
    return PassLayout(micro_batch_size, packs=True, longest_packed=_window(model.config))


def _refusal(model: Any, head: Any, balances: bool) -> str | None:
    """Why the model cannot take packed sequences; None if it can."""
    if balances:
        return "balances the load of its experts"
    if "position_ids" not in inspect.signature(model.forward).parameters:
        return "takes no position ids"
    try:
        difference = _difference(model, head)
    except Exception as error:  # whatever a model does with inputs that it does not know
        return f"takes no mask of its own ({type(error).__name__}: {error})"
    if not difference <= TOLERANCE:
        return f"gives other log-probs for packed sequences (by {difference:.2g} nats)"
    return None


def _difference(model: Any, head: Any) -> float:
    """The largest difference between log-probs of a small group, packed and one by one."""
    weight = model.get_input_embeddings().weight
    ids = [(7919 * k + 13) % weight.shape[0] for k in range(_PROMPT + sum(_REPLIES))]
    rows, at = [], _PROMPT
    for count in _REPLIES:
        rows.append(TrainingRow("", ids[:_PROMPT], ids[at : at + count], [], 0.0, True))
        at += count
    found = []
    with torch.no_grad():
        for plan in (PassPlan([[0, 1, 2]], packed=True), PassPlan([[0], [1], [2]], packed=False)):
            part = collate(rows, plan, weight.device, weight.dtype)
            found.append(score(model, head, part, 1.0).logprobs_N)
    return float((found[0] - found[1]).abs().max())


def _window(config: Any) -> int | None:
    """The smallest window of local attention; None if every layer attends to all positions."""
    text = config.get_text_config()
    if set(getattr(text, "layer_types", None) or ["local"]) == {"full_attention"}:
        return None
    sizes = [getattr(text, name, None) for name in ("sliding_window", "attention_chunk_size")]
    return min((size for size in sizes if isinstance(size, int)), default=None)
