"""What GRPO leaves behind: full checkpoints and adapters."""

import json
from pathlib import Path

import polars as pl
import pytest
import torch
from safetensors.torch import load_file

from rft_pipeline.engines.weights import load_tokenizer, load_weights
from tests.trainers.watched import ADAPTER, Seen, assert_same_weights, run


def test_a_full_checkpoint_is_safetensors_that_load_and_differ_from_the_start(full: Seen, tiny_model: Path) -> None:
    assert (full.checkpoint / "model.safetensors").is_file()
    assert not list(full.checkpoint.glob("*.bin"))
    trained, start = (load_weights(folder, "float32", "cpu").state_dict() for folder in (full.checkpoint, tiny_model))
    assert trained.keys() == start.keys()
    assert any(not torch.equal(trained[name], start[name]) for name in start)
    assert {weight.dtype for weight in trained.values()} == {torch.float32}
    assert load_tokenizer(full.checkpoint).chat_template == load_tokenizer(tiny_model).chat_template


def test_the_same_job_gives_the_same_checkpoint(
    full: Seen, lora: Seen, batch: pl.DataFrame, tiny_model: Path, tmp_path: Path
) -> None:
    torch.manual_seed(123)
    again = run(batch, tiny_model, tmp_path / "full")
    assert_same_weights(again.checkpoint / "model.safetensors", full.checkpoint / "model.safetensors")
    torch.manual_seed(123)
    again = run(batch, tiny_model, tmp_path / "lora", weights="lora")
    assert_same_weights(again.checkpoint / ADAPTER, lora.checkpoint / ADAPTER)


def test_a_lora_checkpoint_is_an_adapter_that_loads_merged_and_differs_from_the_base(
    lora: Seen, tiny_model: Path
) -> None:
    assert (lora.checkpoint / ADAPTER).is_file()
    assert not (lora.checkpoint / "model.safetensors").exists()
    trained, base = (load_weights(folder, "float32", "cpu") for folder in (lora.checkpoint, tiny_model))
    changed = {
        name for name, weight in base.state_dict().items() if not torch.equal(weight, trained.state_dict()[name])
    }
    assert changed
    assert all("_proj" in name for name in changed)
    assert json.loads((lora.checkpoint / "adapter_config.json").read_text())["r"] == 16
    assert load_tokenizer(lora.checkpoint).chat_template


def test_a_second_round_of_lora_goes_on_from_the_first_adapter(
    lora: Seen, batch: pl.DataFrame, tiny_model: Path, tmp_path: Path
) -> None:
    still = run(batch, lora.checkpoint, tmp_path / "still", base=tiny_model, weights="lora", learning_rate=1e-12)
    assert_same_weights(still.checkpoint / ADAPTER, lora.checkpoint / ADAPTER, atol=1e-6)
    second = run(batch, lora.checkpoint, tmp_path / "second", base=tiny_model, weights="lora")
    first, after = load_file(lora.checkpoint / ADAPTER), load_file(second.checkpoint / ADAPTER)
    assert any(not torch.equal(first[name], after[name]) for name in first)
    # what the second round starts from is the first round's policy, not the base
    for seen, before in zip(second.steps[0], still.steps[0], strict=True):
        assert torch.allclose(seen.old, before.new, atol=1e-4)
    assert load_weights(second.checkpoint, "float32", "cpu") is not None


@pytest.mark.parametrize("weights", ["full", "lora"])
def test_the_kl_penalty_is_to_the_model_the_round_started_from_where_asked(
    weights: str, full: Seen, lora: Seen, batch: pl.DataFrame, tiny_model: Path, tmp_path: Path
) -> None:
    start = lora.checkpoint if weights == "lora" else full.checkpoint
    seen = run(batch, start, tmp_path, base=tiny_model, weights=weights, kl_beta=0.1, kl_to="start")
    for each in (*seen.steps[0], *seen.steps[1]):
        assert each.reference is not None
        assert torch.allclose(each.reference, each.old, atol=1e-5)


@pytest.mark.parametrize("weights", ["full", "lora"])
def test_the_kl_penalty_is_to_base_also_in_a_later_round(
    weights: str, full: Seen, lora: Seen, batch: pl.DataFrame, tiny_model: Path, tmp_path: Path
) -> None:
    def reference(start: Path, folder: str, kl_to: str) -> torch.Tensor:
        """Of the second step, after the first update."""
        seen = run(batch, start, tmp_path / folder, base=tiny_model, weights=weights, kl_beta=0.1, kl_to=kl_to)
        return torch.cat([each.reference for each in seen.steps[1] if each.reference is not None])

    later = lora.checkpoint if weights == "lora" else full.checkpoint
    of_base = reference(tiny_model, "first", "start")
    assert torch.allclose(reference(later, "base", "base"), of_base, atol=1e-5)
    assert not torch.allclose(reference(later, "start", "start"), of_base, atol=1e-5)


def test_the_size_of_a_micro_batch_does_not_change_the_result(
    full: Seen, batch: pl.DataFrame, tiny_model: Path, tmp_path: Path
) -> None:
    seen = run(batch, tiny_model, tmp_path, runtime={"micro_batch_size": 8, "device": "cpu"})
    assert_same_weights(seen.checkpoint / "model.safetensors", full.checkpoint / "model.safetensors", atol=2e-4)
