"""Chat templates that refuse or drop what a campaign asks are found before anything is sampled."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.check.small import CLOZE, POLITE, TRAIN, campaign, check, errors
from tests.engines.tokenizers import CHATML, GEMMA, MISTRAL, make_tokenizer

BINARY = {"protocol": "binary", "question": "Is it kind?"}
RELEVANCE = {"protocol": "relevance", "system": "You are an agent."}
ONE_TURN = "{% if messages | length > 1 %}{{ raise_exception('one turn only') }}{% endif %}{{ messages[0]['content'] }}"
NO_SYSTEM = "{% for m in messages %}{% if m['role'] != 'system' %}{{ m['content'] }}</s>{% endif %}{% endfor %}"


def model(folder: Path, template: str) -> None:
    make_tokenizer("byte level", template).save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": 10000}), encoding="utf-8")


def small(
    tmp_path: Path, template: str, criterion: dict[str, Any] = BINARY, train: Any = TRAIN, **settings: Any
) -> Path:
    """A campaign whose policy and judge have a chat template."""
    base = {
        "policy": {"model": "m", **settings.get("policy", {})},
        "judge": {"model": "m", **settings.get("judge", {})},
    }
    anchors = [
        {"prompt": "Where?", "completion": text, "labels": {"polite": i % 2}} for i, text in enumerate("abcdefghij")
    ]
    folder = campaign(tmp_path, [{"name": "polite", "judge": criterion}], train=train, anchors=anchors, settings=base)
    model(folder / "m", template)
    return folder


def test_a_template_that_refuses_a_system_turn_is_named_with_the_prompt_and_the_way_out(tmp_path: Path) -> None:
    folder = small(tmp_path, GEMMA, policy={"system": "Be kind."})
    assert errors(folder) == [
        "campaign.yaml: policy.model m: train prompt t0: the chat template refuses the turns system, user: System role "
        "not supported; change the prompts, choose another model, or set policy.system_in: user_turn"
    ]


@pytest.mark.parametrize("template", [GEMMA, NO_SYSTEM])
@pytest.mark.parametrize("criterion", [POLITE, RELEVANCE, BINARY])
def test_a_system_text_in_the_user_turn_is_taken_by_every_template(
    tmp_path: Path, template: str, criterion: dict[str, Any]
) -> None:
    own = {"id": "own", "prompt": [{"role": role, "content": "Returns."} for role in ("system", "user")]}
    fold = {"system_in": "user_turn"}
    folder = small(tmp_path, template, criterion, [*TRAIN, own], policy={**fold, "system": "Be kind."}, judge=fold)
    check(folder)


def test_a_prompts_own_system_turn_is_a_shape_of_its_own(tmp_path: Path) -> None:
    own = {"id": "own", "prompt": [{"role": role, "content": "Returns."} for role in ("system", "user")]}
    [error] = errors(small(tmp_path, GEMMA, train=[*TRAIN, own]))
    assert error.startswith(
        "campaign.yaml: policy.model m: train prompt own: the chat template refuses the turns system"
    )


def test_a_template_that_drops_a_turn_is_found(tmp_path: Path) -> None:
    [error] = errors(small(tmp_path, NO_SYSTEM, policy={"system": "Be kind."}))
    assert "train prompt t0: the chat template drops message 0 (system); " in error


def test_earlier_turns_are_a_shape_of_their_own(tmp_path: Path) -> None:
    turns = [{"role": role, "content": "Hi."} for role in ("user", "assistant", "user")]
    [error] = errors(small(tmp_path, ONE_TURN, train=[*TRAIN, {"id": "long", "prompt": turns}]))
    assert error == (
        "campaign.yaml: policy.model m: train prompt long: the chat template refuses the turns user, assistant, user: "
        "one turn only; change the prompts, choose another model"
    )


def test_thoughts_that_a_template_always_opens_cannot_be_switched_off(tmp_path: Path) -> None:
    opens = CHATML.replace("<|im_start|>assistant\n{% endif", "<|im_start|>assistant\n<think>\n{% endif")
    assert errors(small(tmp_path, opens, policy={"thinking": "off"})) == [
        "campaign.yaml: policy.thinking: off, but the chat template of m always opens a thought (<think>); set strip "
        "or keep, or choose another model"
    ]


def test_the_judges_own_conversations_are_rendered(tmp_path: Path) -> None:
    [error] = errors(small(tmp_path, GEMMA, POLITE))
    assert error.startswith(
        "campaign.yaml: judge.model m: criterion polite, train prompt t0: the chat template refuses the turns system, "
    )
    assert error.endswith("or set judge.system_in: user_turn")


def test_a_reward_model_reads_the_reply_as_well(tmp_path: Path) -> None:
    own = {"id": "own", "prompt": [{"role": role, "content": "Returns."} for role in ("system", "user")]}
    folder = small(tmp_path, MISTRAL, {"protocol": "reward_model"}, [*TRAIN, own])
    [error] = errors(folder)  # this template shows a system turn only where a user's turn is the last
    assert "criterion polite, train prompt own: the chat template drops message 0 (system)" in error


@pytest.mark.parametrize("family", ["byte level", "byte level with a space", "metaspace always", "metaspace first"])
def test_a_word_is_counted_as_it_continues_a_text(tmp_path: Path, family: str) -> None:
    """Words that are one token with the space before them, also where the tokenizer puts a space before every text."""
    vocabulary = make_tokenizer(family).get_vocab()
    good, bad = sorted(token[1:] for token in vocabulary if token[0] in "▁Ġ" and token[1:].isalpha())[:2]
    folder = small(tmp_path, CHATML, {**CLOZE, "positive": [good], "negative": [bad]}, policy={"system": "Be kind."})
    make_tokenizer(family).save_pretrained(folder / "m")
    check(folder)
