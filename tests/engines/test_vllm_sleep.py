"""When the vLLM engine sleeps: with a stand-in for vLLM that records calls, since vLLM itself sleeps only on a GPU."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from rft_pipeline.campaign import EngineRuntime, Sampling
from rft_pipeline.engines import GenerateRequest
from rft_pipeline.errors import EngineError
from tests.engines.plain import other_weights

ENGINE = "rft_pipeline.engines.vllm"
REQUESTS = [GenerateRequest(f"r{seed}", (("user", "Hello."),), seed) for seed in range(3)]
HOW = Sampling(max_new_tokens=1)
SAMPLES = ["add_request", "add_request", "add_request", "step", "step", "step"]


class StandIn:
    """vLLM's `LLM` and its `llm_engine` in one: answers a request in each step."""

    def __init__(self, **how: Any) -> None:
        self.how = how
        self.calls: list[str] = []
        self.waiting: list[str] = []
        self.llm_engine = self
        self.model_config = SimpleNamespace(max_model_len=64)

    def add_request(self, name: str, *_: Any) -> None:
        self.calls.append("add_request")
        self.waiting.append(name)

    def step(self) -> list[Any]:
        self.calls.append("step")
        drawn = SimpleNamespace(finish_reason="length", token_ids=[5], logprobs=[{5: SimpleNamespace(logprob=-1.0)}])
        return [SimpleNamespace(request_id=self.waiting.pop(0), finished=True, outputs=[drawn])]

    def abort_request(self, names: list[str]) -> None:
        self.calls.append("abort_request")

    def collective_rpc(self, method: str, **_: Any) -> None:
        self.calls.append(method)

    def reset_prefix_cache(self) -> bool:
        return True

    def sleep(self, level: int) -> None:
        self.calls.append(f"sleep {level}")

    def wake_up(self) -> None:
        self.calls.append("wake_up")


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """The stand-in's platform, while it takes vLLM's place."""
    platform = SimpleNamespace(device_type="cuda")
    parts = {
        "vllm": {"LLM": StandIn, "SamplingParams": SimpleNamespace},
        "vllm.exceptions": {"VLLMError": type("VLLMError", (Exception,), {})},
        "vllm.platforms": {"current_platform": platform},
        "vllm.sampling_params": {
            "MAX_LOGPROB_TOKEN_IDS": 128,
            "RequestOutputKind": SimpleNamespace(FINAL_ONLY=None),
        },
    }
    for name, content in parts.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    sys.modules.pop(ENGINE, None)
    yield platform
    sys.modules.pop(ENGINE, None)


def engine_on(folder: Path, **runtime: Any) -> Any:
    how = EngineRuntime.model_validate({"engine": "vllm", "dtype": "float32", **runtime})
    return importlib.import_module(ENGINE).VllmEngine(folder, how)


def test_an_engine_that_sleeps_is_awake_only_while_it_samples_or_takes_weights(
    platform: SimpleNamespace, tiny_model: Path, tmp_path: Path
) -> None:
    engine = engine_on(tiny_model, sleeps=True)
    assert engine.llm.how["enable_sleep_mode"]
    assert [done.tokens_T for batch in engine.generate(REQUESTS, HOW) for done in batch] == [[5]] * 3
    assert engine.llm.calls == [*SAMPLES, "sleep 1"]
    engine.llm.calls.clear()
    engine.take_weights(other_weights(tiny_model, tmp_path).items())
    list(engine.generate(REQUESTS, HOW))
    assert engine.llm.calls == ["wake_up", "take_weights", *SAMPLES, "sleep 1"]


def test_an_engine_sleeps_once_its_caller_stops_early(platform: SimpleNamespace, tiny_model: Path) -> None:
    engine = engine_on(tiny_model, sleeps=True)
    replies = engine._run([((1, 2), None), ((1, 3), None)])
    next(replies)
    replies.close()
    assert engine.llm.calls[-2:] == ["abort_request", "sleep 1"]


def test_an_engine_that_is_not_told_to_never_sleeps(platform: SimpleNamespace, tiny_model: Path) -> None:
    engine = engine_on(tiny_model)
    list(engine.generate(REQUESTS, HOW))
    assert engine.llm.calls == SAMPLES
    assert not engine.llm.how["enable_sleep_mode"]


def test_vllm_on_a_cpu_cannot_sleep(platform: SimpleNamespace, tiny_model: Path) -> None:
    platform.device_type = "cpu"
    with pytest.raises(EngineError, match=r"runtime\.sleeps: vLLM sleeps only on a GPU"):
        engine_on(tiny_model, sleeps=True)
