"""The policy that the KL penalty of grpo is measured to: base, or the start of the session."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rft_pipeline.trainers.learner import Learner, ModelAndHead, Reference
from rft_pipeline.trainers.updates import exchange


def reference_of(learner: Learner, base: Path) -> Reference | None:
    """The reference of a learner that has taken no step; None without a penalty. `base` has the weights of base."""
    training, policy = learner.training, (learner.model, learner.head)
    if learner.imitates or not training.kl_beta:
        return None
    if training.kl_to == "start":
        trained = [weight for weight in learner.model.parameters() if weight.requires_grad]
        frozen = [weight.detach().clone() for weight in trained]
        return lambda: _exchanged(trained, frozen, policy)
    if training.weights == "lora":
        return lambda: _without_adapter(learner.accelerator.unwrap_model(learner.model), policy)
    from rft_pipeline.engines.weights import load_weights

    model = load_weights(base, "bfloat16" if learner.updates.narrow else "float32", str(learner.accelerator.device))
    head = model.get_output_embeddings()
    of_base = (learner.accelerator.prepare_model(model, evaluation_mode=True), head)
    return lambda: _opened(of_base)


@contextmanager
def _opened(policy: ModelAndHead) -> Iterator[ModelAndHead]:
    yield policy


@contextmanager
def _without_adapter(model: Any, policy: ModelAndHead) -> Iterator[ModelAndHead]:
    with model.disable_adapter():
        yield policy


@contextmanager
def _exchanged(trained: list[Any], frozen: list[Any], policy: ModelAndHead) -> Iterator[ModelAndHead]:
    """The policy with the frozen weights in place of the trained ones."""
    for weight, other in zip(trained, frozen, strict=True):
        exchange(weight, other)
    try:
        yield policy
    finally:
        for weight, other in zip(trained, frozen, strict=True):
            exchange(weight, other)
