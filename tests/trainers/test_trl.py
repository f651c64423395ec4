"""Our loss and its gradient are those of TRL's GRPOTrainer on the same rows."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

from rft_pipeline.engines.weights import load_tokenizer, load_weights
from rft_pipeline.trainers.learner import Generation, Learner
from rft_pipeline.trainers.methods import METHODS
from tests.trainers.watched import MAX_NEW_TOKENS, job_of

TEMPERATURE = 0.9


@pytest.fixture(scope="module")
def generation(batch: pl.DataFrame, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Generation:
    """All rows, with old log-probs that differ from the policy's so that some ratios are clipped, and those of a
    reference."""
    job = job_of(batch, tiny_model, tmp_path_factory.mktemp("rows"), lambda step, metrics: None)
    rows = METHODS["grpo"].rows(batch, job.training, job.weights, 7)
    found, draw = Generation(rows), torch.Generator().manual_seed(3)
    for i, row in enumerate(rows):
        own = torch.tensor(row.logprobs)
        found.start[i] = own + 0.3 * torch.randn(len(own), generator=draw)
        found.reference[i] = own + 0.3 * torch.randn(len(own), generator=draw)
    return found


def gradients(model: Any) -> dict[str, torch.Tensor]:
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


def padded(rows: list[list[Any]], length: int, left: bool, fill: Any) -> torch.Tensor:
    return torch.tensor([[fill] * (length - len(r)) + r if left else r + [fill] * (length - len(r)) for r in rows])


def of_trl(
    generation: Generation, tiny_model: Path, folder: Path, loss_type: str, beta: float
) -> tuple[float, dict[str, torch.Tensor]]:
    """The loss and gradients of one step on all rows."""
    rows = generation.rows
    trainer = GRPOTrainer(
        model=load_weights(tiny_model, "float32", "cpu"),
        args=GRPOConfig(
            output_dir=str(folder),
            use_cpu=True,
            bf16=False,
            report_to="none",
            num_generations=4,
            per_device_train_batch_size=len(rows),
            temperature=TEMPERATURE,
            max_completion_length=MAX_NEW_TOKENS,
            beta=beta,
            epsilon=0.2,
            epsilon_high=0.28,
            loss_type=loss_type,
        ),
        train_dataset=Dataset.from_dict({"prompt": ["a"]}),
        reward_funcs=[lambda completions, **_: [0.0] * len(completions)],
        processing_class=load_tokenizer(tiny_model),
    )
    trainer.current_gradient_accumulation_steps = 1
    prompt, reply = max(len(r.prompt_tokens) for r in rows), max(len(r.tokens) for r in rows)
    live = padded([[int(r.live)] * len(r.tokens) for r in rows], reply, False, 0)
    known = [generation.start, generation.reference]
    old, reference = (padded([each[i].tolist() for i in range(len(rows))], reply, False, 0.0) for each in known)
    inputs = {
        "prompt_ids": padded([r.prompt_tokens for r in rows], prompt, True, 0),
        "prompt_mask": padded([[1] * len(r.prompt_tokens) for r in rows], prompt, True, 0),
        "completion_ids": padded([r.tokens for r in rows], reply, False, 0),
        "completion_mask": padded([[1] * len(r.tokens) for r in rows], reply, False, 0),
        "tool_mask": live,
        "advantages": torch.tensor([r.advantage for r in rows], dtype=torch.float32),
        "old_per_token_logps": old,
        "ref_per_token_logps": reference,
        "num_items_in_batch": live.sum(),
    }
    loss = trainer._compute_loss(trainer.model, inputs)
    loss.backward()
    return loss.item(), gradients(trainer.model)


@pytest.mark.parametrize("packing", ["auto", "off"])
@pytest.mark.parametrize("beta", [0.0, 0.1])
@pytest.mark.parametrize("loss_type", ["dapo", "grpo", "dr_grpo", "bnpo"])
def test_loss_and_gradient_equal_trls(
    loss_type: str,
    beta: float,
    packing: str,
    generation: Generation,
    tiny_model: Path,
    tmp_path: Path,
) -> None:
    expected, expected_gradients = of_trl(generation, tiny_model, tmp_path, loss_type, beta)
    AcceleratorState._reset_state(reset_partial_state=True)
    how = {"batch_size": 12, "loss_type": loss_type, "kl_beta": beta}
    runtime = {"micro_batch_size": 5, "device": "cpu", "packing": packing}
    training = job_of(pl.DataFrame(), tiny_model, tmp_path, lambda *_: None, runtime=runtime, **how).training
    model = load_weights(tiny_model, "float32", "cpu")
    learner = Learner(model, Accelerator(cpu=True), training, TEMPERATURE, MAX_NEW_TOKENS, torch.float32)
    assert learner.layout.packs == (packing == "auto")
    data = Generation(generation.rows, generation.start, generation.reference if beta else {})
    sums = learner.backward(data, range(12), 1)
    assert sums["loss"] == pytest.approx(expected, abs=1e-5)
    assert sums["clipped"] > 0
    found = gradients(model)
    assert found.keys() == expected_gradients.keys()
    for name, gradient in expected_gradients.items():
        assert torch.allclose(found[name], gradient, rtol=1e-4, atol=1e-5), name
