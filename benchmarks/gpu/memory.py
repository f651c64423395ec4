"""Settings for one GPU, derived from the bytes that the trainer and vLLM keep: nothing here is measured.

The trainer keeps weights in float32 (an update of 1e-5 is below the resolution of bf16). If all are trained, it
computes with rounded ones in bf16; with LoRA under autocast, which makes a copy in bf16 of each weight that takes part
in a matrix product. Without gradient checkpointing, backward needs what the layers keep for each token of a pass.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

from benchmarks.gpu.shapes import HALF, ONE_AND_A_HALF, SEVEN, Shape

PROMPT, REPLY = 512, 512
"""Tokens of the longest row."""
ROWS = 64
"""Replies that vLLM samples at once (`runtime.batch_size`)."""
RANK = 16
"""Of a LoRA adapter on every linear module but the head."""
USABLE = 0.92
"""The share of a GPU's memory that tensors can take; the rest is for CUDA and fragments."""
VLLM_REST = 2 * 2**30
"""Bytes that vLLM takes for activations and CUDA graphs: an assumption."""
MICRO_BATCHES = (16, 8, 4, 2, 1)
GPUS = (24, 48, 80)
"""GiB."""
SHAPES = (HALF, ONE_AND_A_HALF, SEVEN)


class Settings(NamedTuple):
    """What fits."""

    weights: str
    """`training.weights`."""
    micro_batch_size: int
    memory_share: float
    trainer: float
    """Bytes."""


def activations(shape: Shape) -> int:
    """Bytes that one token of a training pass keeps for backward, in all layers.

    Of a layer: two norms keep input and output in float32 (without autocast the output is in bf16, which is not
    counted); the inputs of the seven linear modules, the activation and its product are in bf16, and so are queries,
    keys, values (one for each query head) and the output of attention.
    """
    norms = 2 * (4 + 4) * shape.hidden
    inputs = 2 * (3 + 1 + 2) * shape.hidden
    attention = 2 * 4 * shape.hidden
    gated = 2 * 4 * shape.intermediate
    return shape.layers * (norms + inputs + attention + gated)


def adapter_weights(shape: Shape) -> int:
    hidden, kv, wide = shape.hidden, shape.kv_width, shape.intermediate
    sides = 2 * (hidden + hidden) + 2 * (hidden + kv) + 3 * (hidden + wide)
    return shape.layers * RANK * sides


def trainer_bytes(shape: Shape, weights: str, micro_batch_size: int) -> int:
    """The most that a training step takes, or the hand-over of merged weights to vLLM."""
    products = shape.layer_weights + shape.head_weights
    logits = 4 * REPLY * shape.vocab  # in bf16, and their gradient
    passes = micro_batch_size * ((PROMPT + REPLY) * activations(shape) + logits)
    if weights == "full":
        return 18 * shape.weights + passes  # weights, rounded weights in bf16, gradient and two moments
    fixed = 4 * shape.weights + 4 * 4 * adapter_weights(shape)
    return fixed + max(2 * products + passes, 4 * shape.layer_weights)


def engine_bytes(shape: Shape) -> int:
    """Weights in bf16, and keys and values of all rows."""
    return 2 * shape.weights + 2 * shape.cache_numbers * ROWS * (PROMPT + REPLY) + VLLM_REST


def settings(shape: Shape, gibibytes: int) -> Settings | None:
    """All weights if they fit, else LoRA, with the largest passes; None if nothing fits. Engine and trainer are on the
    GPU at the same time, as a round in generations needs."""
    whole = gibibytes * 2**30
    share = math.ceil(20 * engine_bytes(shape) / whole) / 20
    for weights in ("full", "lora"):
        for micro in MICRO_BATCHES:
            trainer = trainer_bytes(shape, weights, micro)
            if trainer <= (USABLE - share) * whole:
                return Settings(weights, micro, share, trainer)
    return None


def table() -> Iterator[str]:
    """The settings as a table in Markdown."""
    yield "| model | GPU | `weights` | `micro_batch_size` | `memory_share` | vLLM | trainer |"
    yield "|---|---|---|---|---|---|---|"
    for shape in SHAPES:
        for gibibytes in GPUS:
            where = f"| {shape.name} | {gibibytes} GiB |"
            found = settings(shape, gibibytes)
            if found is None:
                least = trainer_bytes(shape, "lora", 1)
                yield f"{where} does not fit | – | – | {_gib(engine_bytes(shape))} | {_gib(least)} |"
                continue
            shown = f"{found.weights} | {found.micro_batch_size} | {found.memory_share:.2f}"
            yield f"{where} {shown} | {_gib(engine_bytes(shape))} | {_gib(found.trainer)} |"


def _gib(count: float) -> str:
    return f"{count / 2**30:.1f} GiB"
