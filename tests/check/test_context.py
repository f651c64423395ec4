"""Prompts that do not fit, words of several tokens, models that are none or of an architecture without support."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from rft_pipeline.engines.weights import load_weights
from rft_pipeline.errors import ModelError
from tests.check.small import CLOZE, TRAIN, campaign, errors


def test_a_prompt_longer_than_the_embedded_context_is_found_by_its_words(tmp_path: Path) -> None:
    folder = campaign(tmp_path, train=[*TRAIN, {"id": "long", "prompt": "word " * 8145, "urgent": True}])
    found = errors(folder)
    assert found[0] == (
        "campaign.yaml: policy.model embedded has a context of 8192 tokens; 1 train prompts need more (the longest, "
        "long, needs at least 8193, including 48 new tokens): shorten them, lower max_new_tokens or "
        "max_thinking_tokens, or choose another model"
    )
    assert found[1].startswith("campaign.yaml: judge.model embedded has a context of 8192 tokens; 1 train prompts")


def small_model(folder: Path, context: int) -> None:
    """A config and a tokenizer of bytes: every letter is a token, and ` warm` one too."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    letters = {letter: i for i, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    joined = ("Ġ", "w"), ("Ġw", "a"), ("Ġwa", "r"), ("Ġwar", "m")
    merged = {left + right: len(letters) + i for i, (left, right) in enumerate(joined)}
    tokenizer = Tokenizer(models.BPE(vocab=letters | merged, merges=list(joined)))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": context}), encoding="utf-8")


def test_tokens_are_counted_where_the_model_is_there(tmp_path: Path) -> None:
    rollouts = {"prompts_per_round": 4, "group_size": 2, "sampling": {"max_new_tokens": 60}}
    train = [*TRAIN, {"id": "long", "prompt": "x" * 31, "urgent": True}]
    criteria = [{"name": "polite", "judge": {**CLOZE, "positive": ["warm"], "negative": ["cold"]}}]
    model = {"policy": {"model": "bytes", "system": "Be brief."}, "judge": {"model": "bytes"}}
    folder = campaign(tmp_path, criteria, train=train, settings={"rollouts": rollouts, **model})
    small_model(folder / "bytes", context=99)
    assert errors(folder) == [  # 9 of the system message, 31 of the prompt, 60 of the reply
        "campaign.yaml: policy.model bytes has a context of 99 tokens; 1 train prompts need more (the longest, long, "
        "needs at least 100, including 60 new tokens): shorten them, lower max_new_tokens or max_thinking_tokens, or "
        "choose another model",
        "rubric.yaml: polite: word 'cold' is 5 tokens for judge.model bytes; allowed: words of one",
    ]


def test_a_model_that_is_no_folder_and_no_hub_id_is_refused(tmp_path: Path) -> None:
    folder = campaign(tmp_path, settings={"policy": {"model": "./weights"}})
    assert errors(folder) == [
        "campaign.yaml: policy.model: './weights': no such folder; allowed: embedded, a folder, a hub id ORG/NAME or "
        "ORG/NAME@REVISION, champion:CAMPAIGN, served:NAME with a `server`"
    ]


@pytest.mark.parametrize(
    ("typo", "meant"), [("embeded", "embedded"), ("Embedded", "embedded"), ("champoin:a", "champion")]
)
def test_a_mistyped_model_gets_the_nearest_name(tmp_path: Path, typo: str, meant: str) -> None:
    folder = campaign(tmp_path, settings={"judge": {"model": typo}})
    [error] = errors(folder)
    assert error.startswith(f"campaign.yaml: judge.model: {typo!r}: no such folder (did you mean {meant!r}?); allowed:")


def test_a_damaged_model_folder_is_refused(tmp_path: Path) -> None:
    folder = campaign(tmp_path, settings={"policy": {"model": "broken"}})
    (folder / "broken").mkdir()
    [error] = errors(folder)
    assert error.startswith("campaign.yaml: policy.model: broken: cannot be read as a model: ")


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (
            {"model_type": "t5", "is_encoder_decoder": True},
            "model_type 't5' is an encoder-decoder model; use a causal (decoder-only) language model",
        ),
        (
            {"model_type": "rwkv"},
            "model_type 'rwkv' cannot process rows of different lengths in one batch; use another architecture",
        ),
    ],
)
def test_an_architecture_that_cannot_be_sampled_from_is_refused_by_name(
    tmp_path: Path, config: dict[str, Any], why: str
) -> None:
    folder = campaign(tmp_path, settings={"policy": {"model": "bytes"}})
    small_model(folder / "bytes", context=99)
    (folder / "bytes" / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert errors(folder) == [f"campaign.yaml: policy.model: bytes: {why}"]
    with pytest.raises(ModelError, match=re.escape(why)):
        load_weights(folder / "bytes", "float32", "cpu")
