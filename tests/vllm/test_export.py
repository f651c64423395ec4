"""An exported adapter is a folder that vLLM serves as it is, and says what the adapter on its base says."""

import sys
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model

from rft_pipeline.campaign import EngineRuntime, Sampling, Server
from rft_pipeline.engines import GenerateRequest
from rft_pipeline.engines.openai import OpenAIEngine
from rft_pipeline.engines.transformers import TransformersEngine
from rft_pipeline.engines.weights import load_tokenizer, load_weights, name_base
from rft_pipeline.models.merging import write_whole
from tests.engines.real_server import running
from tests.vllm import NEEDS_VLLM

pytestmark = NEEDS_VLLM

GREEDY = Sampling(temperature=0.0, max_new_tokens=16)
ASKED = [GenerateRequest("lamp", (("user", "Where is my lamp?"),), 1), GenerateRequest("tea", (("user", "Tea?"),), 2)]


def test_vllm_serves_an_exported_adapter(tiny_model: Path, tmp_path: Path) -> None:
    adapter, exported = tmp_path / "adapter", tmp_path / "exported"
    torch.manual_seed(1)
    model = get_peft_model(
        load_weights(tiny_model, "float32", "cpu"),
        LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False),
    )
    model.save_pretrained(adapter)
    load_tokenizer(tiny_model).save_pretrained(adapter)
    name_base(adapter, tiny_model)
    write_whole(adapter, exported)

    serve = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(exported)]
    settings = ["--dtype", "float32", "--enforce-eager", "--max-model-len", "512", "--gpu-memory-utilization", "0.1"]
    with running([*serve, *settings, "--served-model-name", "exported"], tmp_path / "log") as url:
        served = said(OpenAIEngine("served:exported", Server(url=url), "policy"))
    here = EngineRuntime(dtype="float32", device="cpu")
    assert served == said(TransformersEngine(adapter, here))
    assert served != said(TransformersEngine(tiny_model, here))


def said(engine: OpenAIEngine | TransformersEngine) -> dict[str, str]:
    return {done.request_id: done.text for batch in engine.generate(ASKED, GREEDY) for done in batch}
