"""Which engine is loaded, and what is said when it is not there."""

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from rft_pipeline.campaign import EngineRuntime, load_campaign
from rft_pipeline.check import check_campaign
from rft_pipeline.engines.load import load_engine, not_installed
from rft_pipeline.engines.transformers import TransformersEngine
from rft_pipeline.engines.weights import pick_dtype
from rft_pipeline.errors import ConfigError, EngineError
from tests.runs import edit

without_vllm = pytest.mark.skipif(find_spec("vllm") is not None, reason="vllm is installed here")


def test_transformers_serves_unless_another_engine_is_named(tiny_model: Path) -> None:
    assert isinstance(load_engine(tiny_model, EngineRuntime(dtype="float32", device="cpu")), TransformersEngine)
    assert not_installed(EngineRuntime()) is None


@without_vllm
def test_an_engine_that_is_not_installed_is_refused_with_what_to_do(tiny_model: Path) -> None:
    with pytest.raises(EngineError, match=r"vllm is not installed; on a GPU run `pip install 'rft-pipeline\[vllm\]'`"):
        load_engine(tiny_model, EngineRuntime(engine="vllm"))


@without_vllm
def test_a_check_refuses_an_engine_that_is_not_installed(tiny_campaign: Path) -> None:
    edit(tiny_campaign / "campaign.yaml", "judge.runtime.engine", "vllm")
    with pytest.raises(ConfigError, match=r"campaign.yaml: judge.runtime.engine: vllm is not installed"):
        check_campaign(tiny_campaign, tiny_campaign / "models", tiny_campaign / "store")
    assert "vllm" not in sys.modules


def test_the_engine_is_no_part_of_what_a_rollout_is(tiny_campaign: Path) -> None:
    before = load_campaign(tiny_campaign)
    edit(tiny_campaign / "campaign.yaml", "rollouts.runtime", {"engine": "vllm", "memory_share": 0.3})
    after = load_campaign(tiny_campaign)
    assert after.rollouts != before.rollouts
    assert after.rollouts.identity == before.rollouts.identity


@pytest.mark.parametrize(
    ("wanted", "device", "instructions", "dtype"),
    [
        ("auto", "cuda", {}, "bfloat16"),
        ("auto", "cpu", {"avx2": True, "avx512_bf16": False, "amx_bf16": False}, "float32"),
        ("auto", "cpu", {"avx512_bf16": True}, "bfloat16"),
        ("auto", "cpu", {"amx_bf16": True}, "bfloat16"),
        ("bfloat16", "cpu", {}, "bfloat16"),
        ("float32", "cuda", {}, "float32"),
    ],
)
def test_the_number_format_is_one_that_the_device_computes_in(
    wanted: str, device: str, instructions: dict[str, bool], dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: instructions)
    assert pick_dtype(wanted, device) == dtype


@pytest.mark.parametrize(("instructions", "dtype"), [({}, torch.float32), ({"amx_bf16": True}, torch.bfloat16)])
def test_the_weights_are_loaded_in_it(
    instructions: dict[str, bool], dtype: torch.dtype, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: instructions)
    assert TransformersEngine(tiny_model, EngineRuntime(device="cpu")).model.dtype == dtype
