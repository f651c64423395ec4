"""Every method trains from the tokens of the batch, logs the same way and leaves the same files."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from rft_pipeline.engines.weights import load_tokenizer, load_weights
from rft_pipeline.trainers.examples import Example
from rft_pipeline.trainers.methods import METHODS
from rft_pipeline.trainers.sft import to_imitate
from tests.trainers.test_examples import with_references
from tests.trainers.watched import ADAPTER, job_of

BESIDE_GRPO = ("raft", "dpo", "sft")


def trained(
    batch: pl.DataFrame, start: Path, scratch: Path, **training: Any
) -> tuple[Path, dict[int, dict[str, float]]]:
    logged: dict[int, dict[str, float]] = {}
    job = job_of(with_references(batch), start, scratch, logged.__setitem__, epochs=4, batch_size=4, **training)
    last = METHODS[job.training.method].train(job)
    assert last == logged[max(logged)]
    assert sorted(logged) == list(range(1, job.training.how.steps(job.batch, job.training, job.weights) + 1))
    return scratch / "checkpoint", logged


def likelihood(folder: Path, prompt: list[int], tokens: list[int]) -> float:
    """The log-likelihood of a reply."""
    model = load_weights(folder, "float32", "cpu")
    ids = torch.tensor([prompt + tokens])
    with torch.no_grad():
        logps = model(ids).logits[0, :-1].log_softmax(-1)
    return float(logps.gather(1, ids[0, 1:, None])[len(prompt) - 1 :].sum())


def row(batch: pl.DataFrame, name: str) -> tuple[list[int], list[int]]:
    found = batch.filter(rollout_id=name).to_dicts()[0]
    return found["prompt_tokens"], found["tokens"]


@pytest.mark.parametrize("method", BESIDE_GRPO)
@pytest.mark.parametrize("weights", ["full", "lora"])
def test_a_checkpoint_loads_and_each_step_logs_numbers(
    method: str, weights: str, batch: pl.DataFrame, tiny_model: Path, tmp_path: Path
) -> None:
    folder, logged = trained(batch, tiny_model, tmp_path, method=method, weights=weights)
    files = {path.name for path in folder.iterdir()}
    assert ("model.safetensors" in files) == (weights == "full")
    assert (ADAPTER in files) == (weights == "lora")
    assert not [path for path in folder.iterdir() if path.is_dir() or path.suffix == ".bin"]
    start, after = (load_weights(path, "float32", "cpu").state_dict() for path in (tiny_model, folder))
    assert any(not torch.equal(start[name], after[name]) for name in start)
    assert load_tokenizer(folder).chat_template
    for metrics in logged.values():
        assert {"loss", "grad_norm", "entropy", "learning_rate", "tokens_per_second"} <= set(metrics)
        assert all(value == value for value in metrics.values())


def test_raft_makes_the_best_likelier(batch: pl.DataFrame, tiny_model: Path, tmp_path: Path) -> None:
    folder, logged = trained(batch, tiny_model, tmp_path, method="raft")
    assert logged[max(logged)]["loss"] < logged[1]["loss"]
    for name in ("lamp-0", "desk-2", "gapped-3"):
        assert likelihood(folder, *row(batch, name)) > likelihood(tiny_model, *row(batch, name))


def test_the_first_loss_of_raft_is_that_of_the_stored_tokens(
    batch: pl.DataFrame, tiny_model: Path, tmp_path: Path
) -> None:
    best = [row(batch, name) for name in ("lamp-0", "desk-2", "gapped-3")]
    logged: dict[int, dict[str, float]] = {}
    METHODS["raft"].train(
        job_of(batch, tiny_model, tmp_path, logged.__setitem__, method="raft", batch_size=3, epochs=1)
    )
    expected = -sum(likelihood(tiny_model, *each) for each in best) / sum(len(tokens) for _, tokens in best)
    assert logged[1]["loss"] == pytest.approx(expected, rel=0.01)  # bf16


def test_dpo_starts_at_log_2_and_widens_the_gap(batch: pl.DataFrame, tiny_model: Path, tmp_path: Path) -> None:
    folder, logged = trained(batch, tiny_model, tmp_path, method="dpo")
    assert logged[1]["loss"] == pytest.approx(0.6931, abs=1e-3)
    assert logged[max(logged)]["preference_margin"] > 0

    def gap(path: Path) -> float:
        return likelihood(path, *row(batch, "lamp-0")) - likelihood(path, *row(batch, "lamp-1"))

    assert gap(folder) > gap(tiny_model)


def test_sft_learns_the_reference_and_where_it_ends(batch: pl.DataFrame, tiny_model: Path, tmp_path: Path) -> None:
    folder, _ = trained(batch, tiny_model, tmp_path, method="sft")
    tokenizer = load_tokenizer(tiny_model)
    reference = [*tokenizer.encode("The lamp is on its way.", add_special_tokens=False), tokenizer.eos_token_id]
    prompt, _ = row(batch, "lamp-0")
    assert likelihood(folder, prompt, reference) > likelihood(tiny_model, prompt, reference)


def test_a_reference_ends_as_the_template_ends_a_turn_and_spells_no_special_token(tiny_model: Path) -> None:
    tokenizer = load_tokenizer(tiny_model)
    end, other = tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
    tokenizer.eos_token = "<|endoftext|>"
    tokens = to_imitate(Example("a", [1], None, "Yes <|im_end|> <|endoftext|>"), tokenizer)
    assert tokens[-1] == end
    assert end not in tokens[:-1]
    assert other not in tokens
    assert to_imitate(Example("a", [1], [3, 4]), tokenizer) == [3, 4]


@pytest.mark.parametrize("method", BESIDE_GRPO)
def test_the_size_of_a_micro_batch_does_not_change_the_result(
    method: str, batch: pl.DataFrame, tiny_model: Path, tmp_path: Path
) -> None:
    steps = []
    for size in (1, 4):
        runtime = {"micro_batch_size": size, "device": "cpu"}
        _, logged = trained(batch, tiny_model, tmp_path / str(size), method=method, runtime=runtime)
        steps.append(logged)
    for step in (1, 2):  # in bf16, so that small gradients of either sign drift apart later
        for name in ("loss", "grad_norm"):
            assert steps[0][step][name] == pytest.approx(steps[1][step][name], rel=0.03)


def test_a_second_round_of_dpo_goes_on_from_the_first_adapter(
    batch: pl.DataFrame, tiny_model: Path, tmp_path: Path
) -> None:
    first, _ = trained(batch, tiny_model, tmp_path / "first", method="dpo", weights="lora")
    second, logged = trained(batch, first, tmp_path / "second", base=tiny_model, method="dpo", weights="lora")
    # the reference is the first round's policy, so the loss starts at log 2 again
    assert logged[1]["loss"] == pytest.approx(0.6931, abs=1e-3)
    assert load_weights(second, "float32", "cpu") is not None
