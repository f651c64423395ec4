"""What ends a reply is what the model's files and its chat template say, all of it."""

import json
from pathlib import Path
from typing import Any

import pytest

from rft_pipeline.engines.end_tokens import end_of_turn, end_tokens
from rft_pipeline.engines.weights import load_tokenizer
from rft_pipeline.errors import ModelError
from tests.tiny_model import CHATML

ENDOFTEXT, IM_START, IM_END = 0, 1, 2


def folder_of(
    model: Path,
    folder: Path,
    generation: dict[str, Any] | None = None,
    config: dict[str, Any] | None = None,
    eos: str | None = "<|endoftext|>",
    template: str = CHATML,
) -> Path:
    """A copy of the tiny model's small files, whose ends are as given."""
    folder.mkdir(exist_ok=True)
    tokenizer = load_tokenizer(model)
    tokenizer.eos_token, tokenizer.chat_template = eos, template
    tokenizer.save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(config or {}), encoding="utf-8")
    if generation is not None:
        (folder / "generation_config.json").write_text(json.dumps(generation), encoding="utf-8")
    return folder


def ends(folder: Path) -> tuple[int, ...]:
    return end_tokens(folder, load_tokenizer(folder))


def test_every_token_that_the_generation_config_lists_ends_a_reply(tiny_model: Path, tmp_path: Path) -> None:
    assert ends(folder_of(tiny_model, tmp_path, {"eos_token_id": [0, 7, 9]})) == (0, 2, 7, 9)


def test_one_token_is_as_good_as_a_list(tiny_model: Path, tmp_path: Path) -> None:
    assert ends(folder_of(tiny_model, tmp_path, {"eos_token_id": 7})) == (0, 2, 7)


@pytest.mark.parametrize("generation", [None, {"pad_token_id": 0}])
@pytest.mark.parametrize("config", [{"eos_token_id": [7, 9]}, {"text_config": {"eos_token_id": [7, 9]}}])
def test_the_config_says_it_where_the_generation_config_does_not(
    generation: dict[str, Any] | None, config: dict[str, Any], tiny_model: Path, tmp_path: Path
) -> None:
    assert ends(folder_of(tiny_model, tmp_path, generation, config)) == (0, 2, 7, 9)


def test_what_ends_a_turn_may_stand_in_the_chat_template_alone(tiny_model: Path, tmp_path: Path) -> None:
    assert ends(folder_of(tiny_model, tmp_path)) == (ENDOFTEXT, IM_END)


def test_an_adapter_ends_where_its_base_model_does(tiny_model: Path, tmp_path: Path) -> None:
    folder_of(tiny_model, tmp_path / "base", {"eos_token_id": [0, 7]})
    adapter = folder_of(tiny_model, tmp_path / "adapter")
    (adapter / "config.json").unlink()
    (adapter / "adapter_config.json").write_text('{"base_model_name_or_path": "../base"}', encoding="utf-8")
    assert ends(adapter) == (0, 2, 7)


@pytest.mark.parametrize(
    ("template", "end"),
    [
        (CHATML, IM_END),
        ("{% for message in messages %}{{ message['content'] + ' <|endoftext|>\n<|im_end|>' }}{% endfor %}", ENDOFTEXT),
        ("{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\n' }}{% endfor %}", 0),
        ("{% for message in messages %}{{ '<|im_start|>' + message['content'] }}{% endfor %}", ENDOFTEXT),
    ],
    ids=["chatml", "the first of two", "no token", "a start alone"],
)
def test_a_turn_ends_with_what_the_template_writes_after_a_reply_else_with_the_end_of_sequence(
    template: str, end: int, tiny_model: Path, tmp_path: Path
) -> None:
    tokenizer = load_tokenizer(folder_of(tiny_model, tmp_path, template=template))
    assert end_of_turn(tokenizer) == end


def test_a_model_that_never_ends_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    tokenizer = load_tokenizer(folder_of(tiny_model, tmp_path, eos=None, template=template))
    with pytest.raises(ModelError, match="no token ends a reply"):
        end_of_turn(tokenizer)
