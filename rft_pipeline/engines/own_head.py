"""Logits from a model's own forward pass, at chosen positions only.

Architectures differ after the hidden states: the head may have a bias, a scale or a cap. So the model's own `forward`
runs, and a hook on its head selects the positions to project.
Axes: B rows, T positions of a row, N chosen positions, H hidden size, V vocabulary.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch.func import functional_call

from rft_pipeline.errors import ModelError


class Hidden:
    """The hidden states of one forward pass, and their projection to logits."""

    def __init__(self, model: Any, **inputs: Any) -> None:
        """Run the model without projecting. Raises `ModelError` if it has no language-model head."""
        self.model = model
        self.head = model.get_output_embeddings()
        seen: list[torch.Tensor] = []

        def look(_: Any, args: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
            seen.append(args[0])
            return (args[0][:, :0],)

        self.output: Any = None  # output of the model without its head

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

        In bf16 a logit near 20 is rounded to 1/16 nat. That is only noise in a mean over tokens; `exact` projects in
        fp32 for a verdict that depends on one position.
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
        """A context in which the model reuses the hidden states of the pass. If they do not come from `base_model`, its
        layers run over one token instead, with the same result."""
        base = self.model.base_model
        return nullcontext() if base is self.model or self.output is None else _returning(base, self.output)


@contextmanager
def _returning(module: Any, output: Any) -> Iterator[None]:
    module.forward = lambda *_, **__: output
    try:
        yield
    finally:
        del module.forward
