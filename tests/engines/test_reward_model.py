"""Reward models against a bare forward pass."""

from pathlib import Path

import pytest
import torch
from pydantic import TypeAdapter
from transformers import (
    AutoTokenizer,
    GPT2Config,
    GPT2ForSequenceClassification,
    LlamaConfig,
    LlamaForSequenceClassification,
)

from rft_pipeline.campaign import EngineRuntime
from rft_pipeline.engines.load import load_reward_model
from rft_pipeline.errors import ModelError
from rft_pipeline.judges import AnyJudge, make_judge
from rft_pipeline.rules import Rollout
from tests.judges.engines import OneEngine, judgements

RUNTIME = EngineRuntime(batch_size=2, dtype="float32", device="cpu")
ROLLOUTS = [
    Rollout("Please help with the lamp.", "We are very sorry and we will help you today."),
    Rollout("The desk is late.", "No."),
    Rollout("The desk is late.", " "),
    Rollout("Where is it?", "Thank you for the kind words."),
]


def classifier(folder: Path, base: Path, labels: int) -> Path:
    torch.manual_seed(3)
    config = LlamaConfig.from_pretrained(base, num_labels=labels)
    LlamaForSequenceClassification(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    return folder


def test_a_score_is_the_squashed_reward_of_the_conversation_whatever_its_batch(
    tmp_path: Path, tiny_model: Path
) -> None:
    folder = classifier(tmp_path, tiny_model, labels=1)
    squash = {"offset": 0.1, "scale": 0.5}
    config = TypeAdapter(AnyJudge).validate_python({"protocol": "reward_model", "squash": squash})
    found = judgements(make_judge(config, OneEngine(load_reward_model(folder, RUNTIME))), ROLLOUTS)

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = LlamaForSequenceClassification.from_pretrained(folder).eval()
    for rollout, judgement in zip(ROLLOUTS, found, strict=True):
        if not rollout.completion.strip():
            assert (judgement.score, judgement.reason) == (0.0, "empty reply")
            continue
        turns = [{"role": "user", "content": rollout.prompt}, {"role": "assistant", "content": rollout.completion}]
        ids = tokenizer(tokenizer.apply_chat_template(turns, tokenize=False), add_special_tokens=False)["input_ids"]
        with torch.inference_mode():
            reward = model(input_ids=torch.tensor([ids])).logits.item()
        assert judgement.score == pytest.approx(
            1 / (1 + torch.exp(torch.tensor(-(reward - 0.1) / 0.5)).item()), abs=1e-5
        )
        assert judgement.raw == f"reward {reward:.4f}"


def test_a_model_that_is_no_reward_model_is_refused(tmp_path: Path, tiny_model: Path) -> None:
    folder = classifier(tmp_path, tiny_model, labels=3)
    with pytest.raises(ModelError, match="has 3 labels; a reward model has one"):
        load_reward_model(folder, RUNTIME)
    with pytest.raises(ModelError, match="cannot be loaded as a sequence classifier"):
        load_reward_model(broken(tmp_path / "broken", tiny_model), RUNTIME)


def broken(folder: Path, base: Path) -> Path:
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    return folder


def test_a_reward_is_read_at_the_last_token_even_where_that_is_the_padding_token_too(
    tmp_path: Path, tiny_model: Path
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.pad_token = tokenizer.eos_token
    tokenizer.chat_template = (
        "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '<|im_end|>' }}{% endfor %}"
    )
    tokenizer.save_pretrained(tmp_path)
    torch.manual_seed(3)
    config = GPT2Config(vocab_size=500, n_embd=32, n_layer=2, n_head=4, initializer_range=0.2, num_labels=1)
    GPT2ForSequenceClassification(config).save_pretrained(tmp_path)
    talks = [(("user", said),) for said in ("Yes.", "No, the lamp is not good and the chair is bad.")]
    found = load_reward_model(tmp_path, RUNTIME).reward(talks)

    model = GPT2ForSequenceClassification.from_pretrained(tmp_path).eval()
    for talk, reward in zip(talks, found, strict=True):
        ids = tokenizer(f"user: {talk[0][1]}<|im_end|>", add_special_tokens=False)["input_ids"]
        with torch.inference_mode():
            hidden_LH = model.transformer(input_ids=torch.tensor([ids])).last_hidden_state[0]
            assert reward == pytest.approx(model.score(hidden_LH[-1]).item(), abs=1e-4)
