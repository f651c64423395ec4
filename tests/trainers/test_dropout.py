"""Policies whose configuration drops out at random: training takes them as they were sampled, without."""

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from rft_pipeline.trainers import loading
from rft_pipeline.trainers.methods import METHODS
from tests.trainers.watched import job_of, run

SMALL: dict[str, Any] = {"vocab_size": 50, "bos_token_id": 0, "eos_token_id": 0}


@pytest.fixture
def dropping(tiny_model: Path, tmp_path: Path) -> Path:
    """The tiny model, with a dropout of its attention."""
    folder = Path(shutil.copytree(tiny_model, tmp_path / "dropping"))
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "attention_dropout": 0.1}), encoding="utf-8")
    return folder


def test_the_ratio_is_1_before_the_first_update(batch: pl.DataFrame, dropping: Path, tmp_path: Path) -> None:
    seen = run(batch, dropping, tmp_path)
    # the second step's old log-probs were computed before the first update, in a pass of their own
    still = run(batch, dropping, tmp_path / "still", learning_rate=1e-20)
    for row in still.steps[1]:
        assert torch.allclose(row.new, row.old, atol=1e-6)
    # whoever trains the checkpoint elsewhere finds the model's own setting
    assert json.loads((seen.checkpoint / "config.json").read_text(encoding="utf-8"))["attention_dropout"] == 0.1


@pytest.mark.parametrize("weights", ["full", "lora"])
def test_dpo_starts_at_log_2(weights: str, batch: pl.DataFrame, dropping: Path, tmp_path: Path) -> None:
    logged: dict[int, dict[str, float]] = {}
    job = job_of(batch, dropping, tmp_path, logged.__setitem__, method="dpo", weights=weights, batch_size=4, epochs=1)
    METHODS["dpo"].train(job)
    assert logged[1]["loss"] == pytest.approx(0.6931, abs=1e-3)


@pytest.mark.parametrize(
    "model",
    [
        GPT2LMHeadModel(GPT2Config(n_embd=16, n_layer=1, n_head=2, resid_pdrop=0.5, attn_pdrop=0.5, **SMALL)),
        LlamaForCausalLM(
            LlamaConfig(
                hidden_size=16,
                intermediate_size=16,
                num_hidden_layers=1,
                num_attention_heads=2,
                attention_dropout=0.5,
                **SMALL,
            )
        ),
    ],
    ids=["layers", "attention"],
)
def test_nothing_is_dropped_wherever_a_model_would(model: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(loading, "load_weights", lambda *_: model)
    job = job_of(pl.DataFrame(), tmp_path, tmp_path, print)
    ids = torch.arange(12)[None]
    trained = loading.load_policy(job, "cpu").train()
    assert torch.equal(trained(ids).logits, trained(ids).logits)
