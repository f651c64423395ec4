"""Frozen embeddings stay as they are, whatever the model and the number format, and have no moments."""

from pathlib import Path

import polars as pl
import pytest
import torch

from rft_pipeline.campaign import Training
from rft_pipeline.engines.weights import load_weights
from rft_pipeline.trainers.session import Session
from tests.architectures import write_model
from tests.trainers.watched import job_of, run


def frozen_names(folder: Path) -> set[str]:
    model = load_weights(folder, "float32", "cpu")
    modules = (model.get_input_embeddings(), model.get_output_embeddings())
    frozen = {weight.data_ptr() for module in modules for weight in module.parameters()}
    return {name for name, weight in model.state_dict().items() if weight.data_ptr() in frozen}


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("architecture", ["qwen2", "phi", "gpt-2", "qwen2-moe"])
def test_all_but_the_embeddings_is_trained(architecture: str, bf16: bool, batch: pl.DataFrame, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", architecture)
    trained = run(batch, folder, tmp_path, bf16=bf16, freeze_embeddings=True)
    found, start = (load_weights(each, "float32", "cpu").state_dict() for each in (trained.checkpoint, folder))
    frozen = frozen_names(folder)
    assert 0 < len(frozen) < len(start)
    near = {"rtol": 2**-7, "atol": 0} if bf16 else {"rtol": 0, "atol": 0}  # a bf16 policy is stored as it computes
    for name in frozen:
        torch.testing.assert_close(found[name], start[name], **near)
    assert any(not torch.equal(found[name], start[name]) for name in start.keys() - frozen)


def test_they_have_no_moments_and_a_killed_training_goes_on_with_them(batch: pl.DataFrame, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", "qwen2")
    runtime = {"micro_batch_size": 4, "device": "cpu", "save_steps": 1, "dtype": "bfloat16"}
    job = job_of(batch, folder, tmp_path, lambda *_: None, freeze_embeddings=True, runtime=runtime)
    session = Session(job)
    session.train(job.training.how.rows(batch, job.training, job.weights, job.seed), 0)
    session.save()
    updates = session.learner.updates
    with_moments = {name for name, weight in updates.updated() if updates.optimizer.state[weight]}
    assert with_moments == {name for name, _ in updates.model.named_parameters()} - frozen_names(folder)
    handed = {name: weight.clone() for name, weight in session.weights()}
    assert all(torch.equal(weight, handed[name]) for name, weight in Session(job).weights())


def test_an_adapter_freezes_them_anyhow() -> None:
    with pytest.raises(ValueError, match="freeze_embeddings: an adapter leaves the embeddings as they are"):
        Training(freeze_embeddings=True, weights="lora")
