import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer

from rft_pipeline.engines.weights import load_tokenizer, load_weights, pick_device
from rft_pipeline.errors import ModelError


def test_weights_come_in_the_dtype_asked_for_ready_to_score(tiny_model: Path) -> None:
    for dtype in ("float32", "bfloat16"):
        model = load_weights(tiny_model, dtype, "cpu")
        assert {weight.dtype for weight in model.parameters()} == {getattr(torch, dtype)}
        assert not model.training


def test_a_folder_without_weights_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=f"{tmp_path}: cannot be loaded"):
        load_weights(tmp_path, "float32", "cpu")


def test_weights_in_pickles_are_not_loaded(tiny_model: Path, tmp_path: Path) -> None:
    shutil.copy(tiny_model / "config.json", tmp_path)
    torch.save(load_weights(tiny_model, "float32", "cpu").state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_weights(tmp_path, "float32", "cpu")


def test_a_tokenizer_without_a_chat_template_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.chat_template = None
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="no chat template; use an instruction-tuned model"):
        load_tokenizer(tmp_path)


def test_a_tokenizer_pads_on_the_left_with_what_it_has(tiny_model: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.pad_token = None
    tokenizer.save_pretrained(tmp_path)
    assert load_tokenizer(tiny_model).pad_token == "<|endoftext|>"
    assert load_tokenizer(tmp_path).pad_token == "<|im_end|>"
    assert load_tokenizer(tmp_path).padding_side == "left"


def test_a_device_that_is_named_is_taken() -> None:
    assert pick_device("cpu") == "cpu"
    assert pick_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
