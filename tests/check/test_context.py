"""Prompts that do not fit, words of several tokens, models that are none."""

import json
from pathlib import Path

from tests.check.small import CLOZE, TRAIN, campaign, errors


def test_a_prompt_longer_than_the_embedded_context_is_found_by_its_words(tmp_path: Path) -> None:
    folder = campaign(tmp_path, train=[*TRAIN, {"id": "long", "prompt": "word " * 8145, "urgent": True}])
    found = errors(folder)
    assert found[0] == (
        "campaign.yaml: policy.model embedded reads 8192 tokens; 1 train prompts need more (the longest, long, at "
        "least 8193, 48 of them max_new_tokens): shorten them, lower max_new_tokens or choose another model"
    )
    assert found[1].startswith("campaign.yaml: judge.model embedded reads 8192 tokens; 1 train prompts need more")


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
        "campaign.yaml: policy.model bytes reads 99 tokens; 1 train prompts need more (the longest, long, at least "
        "100, 60 of them max_new_tokens): shorten them, lower max_new_tokens or choose another model",
        "rubric.yaml: polite: word 'cold' is 5 tokens for judge.model bytes; allowed: words of one",
    ]


def test_a_model_that_is_no_folder_and_no_hub_id_is_refused(tmp_path: Path) -> None:
    folder = campaign(tmp_path, settings={"policy": {"model": "./weights"}})
    assert errors(folder) == [
        "campaign.yaml: policy.model: './weights': no such folder; allowed: embedded, a folder, org/name[@revision]"
    ]


def test_a_damaged_model_folder_is_refused(tmp_path: Path) -> None:
    folder = campaign(tmp_path, settings={"policy": {"model": "broken"}})
    (folder / "broken").mkdir()
    [error] = errors(folder)
    assert error.startswith("campaign.yaml: policy.model: broken: not a model that can be read: ")
