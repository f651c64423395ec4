"""Logits by a model's own forward pass, at chosen positions only.

What follows the hidden states differs by architecture: a head with a bias, a scale, a cap. It is never done by hand
here: the model's `forward` runs, and a hook on its head chooses the positions that are projected.
Axes: B rows, T positions of a row, N chosen positions, H hidden size, V vocabulary.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch.func import functional_call

from rft_pipeline.errors import ModelError


class Hidden:
    """What a model handed its head in one forward pass, and how to project parts of it."""

    def __init__(self, model: Any, **inputs: Any) -> None:
        """Run the model over `inputs`; nothing is projected. Raises `ModelError` when it has no head to hook."""
        self.model = model
        self.head = model.get_output_embeddings()
        seen: list[torch.Tensor] = []

        def look(_: Any, args: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
            seen.append(args[0])
            return (args[0][:, :0],)

        self.output: Any = None  # of the model without its head

        def keep(_: Any, __: Any, output: Any) -> None:
            self.output = output

        if self.head is not None:
            with self.head.register_forward_pre_hook(look), model.base_model.register_forward_hook(keep):
                model(**inputs)
        if len(seen) != 1:
            raise ModelError(f"{type(model).__name__}: an architecture without a language-model head cannot score")
        self.states_BTH = seen[0]

    def logits(self, b_N: list[int], t_N: list[int], exact: bool = False) -> torch.Tensor:
        """Logits N × V at positions (b, t).

        In bf16 a logit near 20 is rounded to 1/16 nat: noise in a mean over tokens, but a verdict that hangs on one
        position is projected in fp32 (`exact`).
        """
        states_1NH = self.states_BTH[b_N, t_N].unsqueeze(0)
        weights: dict[str, torch.Tensor] = {}
        if exact:
            states_1NH = states_1NH.float()
            name = next(name for name, module in self.model.named_modules() if module is self.head)
            weights = {f"{name}.{key}": weight.float() for key, weight in self.head.named_parameters()}
        inputs = {"input_ids": torch.zeros(1, 1, dtype=torch.long, device=states_1NH.device), "use_cache": False}
        with self.head.register_forward_pre_hook(lambda _, __: (states_1NH,)), self._without_layers():
            logits: torch.Tensor = functional_call(self.model, weights, kwargs=inputs, tie_weights=False).logits[0]
        return logits

    def _without_layers(self) -> Any:
        """While it is open, the model takes its hidden states from the pass that was. Where they do not come from
        `base_model`, its layers run over one token instead: slower, and the same."""
        base = self.model.base_model
        return nullcontext() if base is self.model or self.output is None else _returning(base, self.output)


@contextmanager
def _returning(module: Any, output: Any) -> Iterator[None]:
    module.forward = lambda *_, **__: output
    try:
        yield
    finally:
        del module.forward
