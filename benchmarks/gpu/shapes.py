"""The shapes of the models that are measured: counts of weights, bytes and floating-point operations.

A multiplication and an addition count as two operations. Norms, embeddings and softmax are left out of operations.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """A Llama."""

    name: str
    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    vocab: int
    tied: bool
    """Whether the head is the embedding."""

    @property
    def kv_width(self) -> int:
        """Numbers in the keys of one token in one layer."""
        return self.hidden // self.heads * self.kv_heads

    @property
    def layer_weights(self) -> int:
        """Weights of the linear modules of all layers."""
        attention = 2 * self.hidden * self.hidden + 2 * self.hidden * self.kv_width
        return self.layers * (attention + 3 * self.hidden * self.intermediate)

    @property
    def head_weights(self) -> int:
        return self.vocab * self.hidden

    @property
    def weights(self) -> int:
        norms = (2 * self.layers + 1) * self.hidden
        return self.layer_weights + norms + self.head_weights * (1 if self.tied else 2)

    @property
    def cache_numbers(self) -> int:
        """Numbers in the keys and values of one token."""
        return 2 * self.layers * self.kv_width

    def forward_operations(self, tokens: int, projected: int, pairs: int) -> int:
        """Operations of a forward pass over `tokens`, of which `projected` go through the head; `pairs` are the
        (query, key) pairs of tokens that attention needs in each layer."""
        linear = 2 * self.layer_weights * tokens + 2 * self.head_weights * projected
        return linear + 4 * self.layers * self.hidden * pairs


@dataclass(frozen=True)
class Group:
    """A prompt of `prompt` tokens with a reply of each number of tokens in `replies`."""

    prompt: int
    replies: Sequence[int]

    def operations(self, shape: Shape, shared: bool) -> int:
        """Operations of a training step: forward, and twice as much backward. With `shared`, the prompt is computed
        once, otherwise once for each reply."""
        prompts = 1 if shared else len(self.replies)
        tokens = prompts * self.prompt + sum(self.replies)
        pairs = prompts * causal(self.prompt) + sum(reply * self.prompt + causal(reply) for reply in self.replies)
        return 3 * shape.forward_operations(tokens, sum(self.replies), pairs)

    @property
    def tokens(self) -> int:
        """Tokens as if each reply had its own prompt."""
        return len(self.replies) * self.prompt + sum(self.replies)


def causal(tokens: int) -> int:
    """The (query, key) pairs of causal attention over `tokens`."""
    return tokens * (tokens + 1) // 2


TINY = Shape("tiny", 2, 64, 128, 4, 2, 512, tied=True)
"""For a CPU."""
HALF = Shape("0.5 B", 24, 896, 4864, 14, 2, 151936, tied=True)
ONE_AND_A_HALF = Shape("1.5 B", 28, 1536, 8960, 12, 2, 151936, tied=True)
SEVEN = Shape("7 B", 28, 3584, 18944, 28, 4, 152064, tied=False)
"""The shapes of Qwen 2.5."""
