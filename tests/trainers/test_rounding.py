"""A policy in bfloat16 learns as much as one in float32, however little a weight moves."""

import json
from pathlib import Path

import polars as pl
import pytest
import torch
from safetensors.torch import load_file

from rft_pipeline.engines.transformers import TransformersEngine
from rft_pipeline.engines.weights import load_weights
from rft_pipeline.models.merging import copy_tokenizer
from rft_pipeline.trainers.session import Session
from tests.trainers.watched import job_of, run

SMALL = 2e-6
"""A learning rate at which hardly any weight moves to the nearest other bfloat16 number."""
FILE = "model.safetensors"


@pytest.fixture(scope="module")
def narrow(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model in bfloat16."""
    folder = tmp_path_factory.mktemp("narrow")
    load_weights(tiny_model, "bfloat16", "cpu").save_pretrained(folder)
    copy_tokenizer(tiny_model, folder)
    return folder


def share_kept(found: dict[str, torch.Tensor], exact: dict[str, torch.Tensor], start: dict[str, torch.Tensor]) -> float:
    """The part of the exact movement that is found."""
    names = [name for name in exact if name in start]
    moved = torch.cat([(exact[name].float() - start[name].float()).flatten() for name in names])
    kept = torch.cat([(found[name].float() - start[name].float()).flatten() for name in names])
    return float((kept @ moved) / (moved @ moved))


@pytest.mark.parametrize("bf16", [False, True])
def test_a_checkpoint_in_bfloat16_keeps_what_was_learnt(
    bf16: bool, batch: pl.DataFrame, narrow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact: dict[str, torch.Tensor] = {}
    finish = Session.finish

    def look(session: Session, scratch: Path) -> dict[str, float]:
        with session.learner.exact():
            exact.update({name: weight.detach().clone() for name, weight in session.learner.updated()})
        return finish(session, scratch)

    monkeypatch.setattr(Session, "finish", look)
    trained = run(batch, narrow, tmp_path, bf16=bf16, learning_rate=SMALL)
    start, found = load_file(narrow / FILE), load_file(trained.checkpoint / FILE)
    assert {weight.dtype for weight in found.values()} == {torch.bfloat16}
    assert json.loads((trained.checkpoint / "config.json").read_text())["dtype"] == "bfloat16"
    nearest = {name: weight.bfloat16() for name, weight in exact.items()}
    assert share_kept(nearest, exact, start) < 0.5
    assert share_kept(found, exact, start) == pytest.approx(1, abs=0.1)


def test_the_engine_gets_the_weights_that_the_trainer_computes_with(
    batch: pl.DataFrame, narrow: Path, tmp_path: Path
) -> None:
    runtime = {"micro_batch_size": 4, "device": "cpu", "save_steps": 1, "dtype": "bfloat16"}
    job = job_of(batch, narrow, tmp_path, lambda *_: None, learning_rate=SMALL, runtime=runtime)
    session = Session(job)
    session.train(job.training.how.rows(batch, job.training, job.weights, job.seed), 0)
    session.save()
    handed = {name: weight.clone() for name, weight in session.weights()}
    assert {weight.dtype for weight in handed.values()} == {torch.bfloat16}
    again = {name: weight.clone() for name, weight in Session(job).weights()}
    assert all(torch.equal(weight, handed[name]) for name, weight in again.items())
    session.finish(tmp_path)
    stored = load_weights(tmp_path / "checkpoint", "bfloat16", "cpu").state_dict()
    assert all(torch.equal(weight, handed[name]) for name, weight in stored.items())


@pytest.mark.parametrize("how", ["loaded", "handed over"])
def test_an_adapter_keeps_what_it_learnt_when_it_is_merged_in_bfloat16(
    how: str, batch: pl.DataFrame, narrow: Path, tmp_path: Path
) -> None:
    trained = run(batch, narrow, tmp_path, weights="lora", learning_rate=1e-4)
    exact = load_weights(trained.checkpoint, "float32", "cpu").state_dict()
    if how == "loaded":
        found = load_weights(trained.checkpoint, "bfloat16", "cpu").state_dict()
    else:
        from rft_pipeline.engines.settings import EngineRuntime

        engine = TransformersEngine(narrow, EngineRuntime(dtype="bfloat16", device="cpu"))
        engine.take_weights(exact.items())
        found = engine.model.state_dict()
    start = load_file(narrow / FILE)
    assert share_kept(found, exact, start) == pytest.approx(1, abs=0.1)
