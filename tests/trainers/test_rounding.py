"""A policy in bfloat16 learns as much as one in float32, however little a weight moves."""

import json
from pathlib import Path

import polars as pl
import pytest
import torch
from safetensors.torch import load_file

from rft_pipeline.engines.settings import EngineRuntime
from rft_pipeline.engines.transformers import TransformersEngine
from rft_pipeline.engines.weights import load_weights
from rft_pipeline.models.merging import copy_tokenizer
from rft_pipeline.trainers.learner import Generation
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
        with session.learner.updates.exact():
            exact.update({name: weight.detach().clone() for name, weight in session.learner.updates.updated()})
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


def test_an_engine_in_this_process_uses_the_weights_of_the_passes_and_copies_none(
    batch: pl.DataFrame, narrow: Path, tmp_path: Path
) -> None:
    runtime = {"micro_batch_size": 4, "device": "cpu", "dtype": "bfloat16"}
    session = Session(job_of(batch, narrow, tmp_path, lambda *_: None, runtime=runtime))
    engine = TransformersEngine(narrow, EngineRuntime(dtype="bfloat16", device="cpu"))
    engine.take_weights(session.weights())
    places = {name: weight.data_ptr() for name, weight in session.weights()}
    assert {name: weight.data_ptr() for name, weight in engine.model.state_dict().items()} == places


def test_a_model_that_is_stored_in_float32_stays_so_when_it_is_trained_in_bfloat16(
    batch: pl.DataFrame, tiny_model: Path, tmp_path: Path
) -> None:
    trained = run(batch, tiny_model, tmp_path, bf16=True)
    found, start = load_file(trained.checkpoint / FILE), load_file(tiny_model / FILE)
    assert {weight.dtype for weight in found.values()} == {torch.float32}
    assert json.loads((trained.checkpoint / "config.json").read_text())["dtype"] == "float32"
    assert found.keys() == start.keys()
    assert all(torch.equal(weight, weight.bfloat16().float()) for weight in found.values())


@pytest.mark.parametrize("micro_batch_size", [1, 100])
def test_gradients_in_bfloat16_are_summed_in_float32(
    micro_batch_size: int, batch: pl.DataFrame, narrow: Path, tmp_path: Path
) -> None:
    def gradients(micro: int, packing: str) -> torch.Tensor:
        runtime = {"micro_batch_size": micro, "device": "cpu", "dtype": "bfloat16", "packing": packing}
        job = job_of(batch, narrow, tmp_path, lambda *_: None, runtime=runtime)
        learner = Session(job).learner
        rows = job.training.how.rows(batch, job.training, job.weights, job.seed)
        learner.backward(Generation(rows), range(8), 1)
        found = [weight.grad for weight in learner.model.parameters() if weight.grad is not None]
        assert {each.dtype for each in found} == {torch.bfloat16 if micro == 100 else torch.float32}
        return torch.cat([each.float().flatten() for each in found])

    one, other = gradients(micro_batch_size, "off"), gradients(100, "auto")
    assert float((one - other).norm() / other.norm()) < 0.05


@pytest.mark.parametrize("how", ["loaded", "handed over"])
def test_an_adapter_keeps_what_it_learnt_when_it_is_merged_in_bfloat16(
    how: str, batch: pl.DataFrame, narrow: Path, tmp_path: Path
) -> None:
    trained = run(batch, narrow, tmp_path, weights="lora", learning_rate=1e-4)
    exact = load_weights(trained.checkpoint, "float32", "cpu").state_dict()
    if how == "loaded":
        found = load_weights(trained.checkpoint, "bfloat16", "cpu").state_dict()
    else:
        engine = TransformersEngine(narrow, EngineRuntime(dtype="bfloat16", device="cpu"))
        engine.take_weights(exact.items())
        found = engine.model.state_dict()
    start = load_file(narrow / FILE)
    assert share_kept(found, exact, start) == pytest.approx(1, abs=0.1)
