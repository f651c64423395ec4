"""Tiny random models of the architectures that people train, all with the tiny model's tokenizer.

`architecture` is a test's parameter: one test for each. Add a line here and every test of the matrix covers it.
"""

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import made_once
from tests.tiny_model import write_tiny_tokenizer

_SIZES = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,
}
_WINDOW = {"sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"]}
_FEW_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
_GPT_2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256, "initializer_range": 0.2}

ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", _SIZES),
    "mistral": ("MistralConfig", {**_SIZES, "sliding_window": 8}),
    "qwen2": ("Qwen2Config", {**_SIZES, "tie_word_embeddings": True}),
    "qwen2-moe": ("Qwen2MoeConfig", {**_SIZES, **_FEW_EXPERTS, "shared_expert_intermediate_size": 32}),
    "qwen3": ("Qwen3Config", {**_SIZES, "head_dim": 8}),
    "gemma-2": ("Gemma2Config", {**_SIZES, **_WINDOW, "head_dim": 8, "final_logit_softcapping": 3.0}),
    "gemma-3": ("Gemma3TextConfig", {**_SIZES, **_WINDOW, "head_dim": 8}),
    "phi": ("PhiConfig", _SIZES),
    "gpt-2": ("GPT2Config", _GPT_2),
    "gpt-neox": ("GPTNeoXConfig", _SIZES),
    "gpt-oss": (
        "GptOssConfig",
        {**_SIZES, **_WINDOW, "head_dim": 8, "num_local_experts": 4, "num_experts_per_tok": 2},
    ),
    "cohere": ("CohereConfig", {**_SIZES, "logit_scale": 0.25}),
    "granite": ("GraniteConfig", {**_SIZES, "logits_scaling": 4.0}),
    "falcon": ("FalconConfig", _SIZES),
    "bloom": ("BloomConfig", {"hidden_size": 32, "n_layer": 2, "n_head": 4, "initializer_range": 0.2}),
    "lfm2": ("Lfm2Config", {**_SIZES, "layer_types": ["conv", "full_attention"], "block_multiple_of": 8}),
}
"""The config class and its settings, by name. Heads have a bias where the architecture knows one; it is not zero."""


def write_model(folder: Path, architecture: str) -> Path:
    """Write the tiny model of an architecture of `ARCHITECTURES` into `folder` and return it."""
    import torch
    import transformers

    tokenizer = write_tiny_tokenizer(folder)
    config_class, settings = ARCHITECTURES[architecture]
    config = getattr(transformers, config_class)(
        **settings,
        vocab_size=len(tokenizer),
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config)
    for name, weight in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(weight, std=0.2)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session", params=ARCHITECTURES)
def architecture(request: pytest.FixtureRequest) -> str:
    """The name of an architecture: one test for each."""
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def architecture_model(architecture: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tiny random model of `architecture`; only to be read."""
    return made_once(f"model_{architecture}", tmp_path_factory, lambda folder: write_model(folder, architecture))
