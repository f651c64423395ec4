"""benchmarks/gpu in small, on a CPU."""

import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaForCausalLM

from benchmarks.gpu import memory, workload
from benchmarks.gpu.__main__ import SMALL, Result, measure
from benchmarks.gpu.agreement import PLAIN, Distance
from benchmarks.gpu.models import config_of
from benchmarks.gpu.roofline import Roofline
from benchmarks.gpu.shapes import HALF, ONE_AND_A_HALF, SEVEN, Group, Shape
from benchmarks.gpu.speed import Sampling, Speed, Step
from rft_pipeline.campaign import Training
from rft_pipeline.engines.settings import Sampling as SamplingSettings


def test_it_needs_only_torch_transformers_and_accelerate() -> None:
    program = """
import sys
for name in ("polars", "pydantic", "trl", "peft", "datasets", "dagster", "mlflow", "deltalake", "openai"):
    sys.modules[name] = None
import benchmarks.gpu.__main__
"""
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.fixture(scope="module")
def small() -> Result:
    return measure(SMALL, Roofline(1e9, 1e9), "cpu", "float32", repeats=1)


def test_engine_and_trainer_have_the_log_probs_of_the_plain_forward(small: Result) -> None:
    found = {(each.dtype, each.path): each for each in small.distances}
    paths = {"engine, while sampling", "engine, scoring", "trainer, packed", "trainer, padded", PLAIN}
    assert found.keys() == {(dtype, path) for dtype in ("float32", "bfloat16") for path in paths}
    for (dtype, path), distance in found.items():
        assert distance.largest < (1e-4 if dtype == "float32" else 0.5), (dtype, path)
    assert found["bfloat16", PLAIN].mean > 1e-4  # the model is not sure of each token, so rounding shows


def test_a_packed_step_has_the_loss_and_the_gradient_of_a_padded_one(small: Result) -> None:
    packed, padded = small.training
    assert packed.loss == pytest.approx(padded.loss, abs=1e-5)
    assert packed.grad_norm == pytest.approx(padded.grad_norm, rel=1e-3)
    assert packed.grad_norm > 1e-3


def result(**changed: Any) -> Result:
    speed = Speed(1000.0, 0.5, None)
    made = Result(
        [Distance("float32", "engine, scoring", 1e-6, 1e-5), Distance("bfloat16", PLAIN, 0.01, 0.1)],
        [Sampling("engine", speed, 0.5), Sampling("bare generate", speed, 0.5)],
        [Step("packed", speed, 0.1, 2.0), Step("padded", speed, 0.1, 2.0)],
    )
    return made._replace(**changed)


def test_a_goal_that_is_missed_is_reported() -> None:
    slow = Speed(800.0, 0.3, None)
    far = [*result().distances, Distance("float32", "trainer", 0.1, 0.1), Distance("bfloat16", "trainer", 0.03, 0.1)]
    assert list(result().missed(timed=True)) == []
    assert [fault.partition(":")[0] for fault in result(distances=far).missed(timed=True)] == [
        "trainer in float32",
        "trainer in bfloat16",
    ]
    other = [Step("packed", slow, 0.2, 2.1), Step("padded", slow, 0.1, 2.0)]
    assert [fault.partition(":")[0] for fault in result(training=other).missed(timed=False)] == ["loss", "gradient"]
    behind = [Sampling("engine", slow, 0.1), result().sampling[1]]
    assert [fault.partition(":")[0] for fault in result(training=other, sampling=behind).missed(timed=True)][2:] == [
        "packed training",
        "sampling",
    ]


@pytest.mark.parametrize("shape", [HALF, ONE_AND_A_HALF, SEVEN], ids=lambda shape: shape.name)
def test_the_weights_of_a_shape_are_those_of_the_model(shape: Shape) -> None:
    with torch.device("meta"):
        model = LlamaForCausalLM(config_of(shape))
    assert sum(weight.numel() for weight in model.parameters()) == shape.weights


def test_operations_are_those_that_can_be_counted_by_hand() -> None:
    shape = Shape("one layer", layers=1, hidden=2, intermediate=3, heads=1, kv_heads=1, vocab=5, tied=True)
    assert shape.layer_weights == 4 * 2 * 2 + 3 * 2 * 3
    # 4 tokens through 34 weights, 2 through 10 of the head, 10 pairs of query · key and weight · value
    assert shape.forward_operations(4, 2, 10) == 2 * 34 * 4 + 2 * 10 * 2 + 2 * 2 * 2 * 10
    group = Group(3, [1, 1])
    # the prompt has 6 pairs; each reply attends to the prompt and to itself
    assert group.operations(shape, shared=True) == 3 * shape.forward_operations(5, 2, 6 + 2 * 4)
    assert group.operations(shape, shared=False) == 3 * shape.forward_operations(8, 2, 2 * 6 + 2 * 4)


def test_its_settings_are_those_of_a_campaign() -> None:
    own, ours = workload.Training(batch_size=16), Training()
    for each in fields(own):
        if each.name != "runtime":
            assert getattr(own, each.name) == getattr(ours, each.name), each.name
    for each in fields(own.runtime):
        if each.name != "batch_size":  # an engine's
            assert getattr(own.runtime, each.name) == getattr(ours.runtime, each.name), each.name
    for each in fields(workload.Sampling(8)):
        expected = getattr(SamplingSettings(max_new_tokens=8), each.name)
        assert getattr(workload.Sampling(8), each.name) == expected, each.name


def kept_for_backward(shape: Shape, tokens: int) -> int:
    """Bytes that autograd keeps of a pass under autocast, without the weights themselves."""
    torch.manual_seed(0)
    model = LlamaForCausalLM(config_of(shape))
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.setdefault(tensor.untyped_storage().data_ptr(), tensor)
        return tensor

    ids = torch.arange(tokens)[None] % shape.vocab
    with torch.autocast("cpu", torch.bfloat16), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = model(input_ids=ids, use_cache=False)
    assert output.logits.shape[1] == tokens
    return sum(each.untyped_storage().nbytes() for place, each in kept.items() if place not in weights)


def test_a_layer_keeps_what_the_derivation_says() -> None:
    one = Shape("one", layers=1, hidden=256, intermediate=1024, heads=8, kv_heads=2, vocab=64, tied=True)
    three, tokens = replace(one, layers=3), 1024
    measured = (kept_for_backward(three, tokens) - kept_for_backward(one, tokens)) / 2
    derived = tokens * memory.activations(one) + 2 * one.layer_weights
    assert 0.7 * derived < measured <= 1.05 * derived


def test_larger_gpus_take_more() -> None:
    for shape in memory.SHAPES:
        fits = [memory.settings(shape, gibibytes) is not None for gibibytes in memory.GPUS]
        assert fits == sorted(fits)
    for shape in memory.SHAPES:
        for gibibytes in memory.GPUS:
            found = memory.settings(shape, gibibytes)
            if found is None:
                assert memory.trainer_bytes(shape, "lora", 1) > memory.USABLE * gibibytes * 2**30
                continue
            assert found.memory_share * gibibytes * 2**30 >= memory.engine_bytes(shape)
            assert found.trainer + memory.engine_bytes(shape) <= memory.USABLE * gibibytes * 2**30


def test_the_settings_in_the_documentation_are_those_that_the_command_prints() -> None:
    page = Path(__file__).parents[1] / "docs" / "scaling.md"
    assert "\n".join(memory.table()) in page.read_text(encoding="utf-8")
