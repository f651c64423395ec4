"""Every architecture that people train: the trainer's log-probs, one step of grpo, and what it leaves behind."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest
import torch

from rft_pipeline.campaign import EngineRuntime, Reward
from rft_pipeline.engines import ScoreRequest
from rft_pipeline.engines.chat_tokens import chat_tokens
from rft_pipeline.engines.transformers import TransformersEngine
from rft_pipeline.engines.weights import load_tokenizer, load_weights
from rft_pipeline.models.merging import write_whole
from rft_pipeline.rewards.batch import make_batch
from rft_pipeline.trainers.loading import load_policy
from tests.architectures import architecture, architecture_model
from tests.trainers.watched import PROMPTS, Seen, job_of, run

__all__ = ["architecture", "architecture_model"]

LENGTHS = (3, 12, 7, 5)
"""Tokens of the rollouts of each prompt: with prompts of several lengths, rows are padded on both sides."""
LOADED = {"dtype", "transformers_version", "architectures"}
"""What a configuration says of the weights beside it."""


class Round(NamedTuple):
    model: Path
    batch: pl.DataFrame


@pytest.fixture(scope="module")
def round_1(architecture_model: Path) -> Round:
    """Rollouts of drawn tokens; their log-probs are those of the model's own forward, of each alone and unpadded."""
    tokenizer = load_tokenizer(architecture_model)
    model = load_weights(architecture_model, "float32", "cpu")
    draw = torch.Generator().manual_seed(1)
    rows, scores = [], []
    for name, (text, scored) in PROMPTS.items():
        prompt = chat_tokens(tokenizer, (("user", text),))
        for i, length in enumerate(LENGTHS):
            tokens = torch.randint(3, len(tokenizer), (length,), generator=draw).tolist()
            rollout = {"rollout_id": f"{name}-{i}", "prompt_id": name, "sample_index": i, "finish_reason": "stop"}
            alone = own_logprobs(model, prompt, tokens)
            rows.append({**rollout, "prompt_tokens": prompt, "tokens": tokens, "logprobs": alone})
            scores.append({"rollout_id": f"{name}-{i}", "criterion": "polite", "score": scored[i]})
    made = make_batch(pl.DataFrame(rows), pl.DataFrame(scores, strict=False), {"polite": 1.0}, {}, Reward())
    return Round(architecture_model, made.rows)


@pytest.fixture(scope="module", params=["full", "lora"])
def trained(round_1: Round, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """One step of grpo on all groups."""
    scratch = tmp_path_factory.mktemp("trained")
    return run(round_1.batch, round_1.model, scratch, weights=request.param, epochs=1, batch_size=12)


def own_logprobs(model: Any, prompt: list[int], tokens: list[int]) -> list[float]:
    with torch.no_grad():
        logits = model(torch.tensor([prompt + tokens])).logits[0, len(prompt) - 1 : -1]
    found: list[float] = logits.log_softmax(-1).gather(1, torch.tensor(tokens)[:, None])[:, 0].tolist()
    return found


def of_folder(folder: Path, batch: pl.DataFrame) -> list[float]:
    """The log-probs of all tokens of a batch, by the model's own forward."""
    model = load_weights(folder, "float32", "cpu")
    return [
        each for row in batch.iter_rows(named=True) for each in own_logprobs(model, row["prompt_tokens"], row["tokens"])
    ]


def test_the_log_probs_of_the_loss_are_the_models_own(trained: Seen, round_1: Round) -> None:
    # of the engine, which here is the model's own forward, in fp32
    assert trained.last["logprob_gap_p99"] < 2e-4
    by_id = {row["rollout_id"]: row["logprobs"] for row in round_1.batch.iter_rows(named=True)}
    for seen in trained.live(1):
        assert seen.new.tolist() == pytest.approx(by_id[seen.row.rollout_id], abs=2e-4)


def test_a_step_moves_the_policy(trained: Seen, round_1: Round) -> None:
    before, after = (of_folder(folder, round_1.batch) for folder in (round_1.model, trained.checkpoint))
    assert max(abs(x - y) for x, y in zip(before, after, strict=True)) > 1e-3


def test_the_engine_scores_the_checkpoint_as_its_own_forward_does(trained: Seen, round_1: Round) -> None:
    engine = TransformersEngine(trained.checkpoint, EngineRuntime(batch_size=16, dtype="float32", device="cpu"))
    asked = [
        ScoreRequest(tuple(row["prompt_tokens"]), tuple(row["tokens"])) for row in round_1.batch.iter_rows(named=True)
    ]
    scored = [each for result in engine.score(asked) for each in result.token_logprobs]
    assert scored == pytest.approx(of_folder(trained.checkpoint, round_1.batch), abs=2e-4)


def test_an_export_is_the_checkpoint_as_whole_weights(trained: Seen, round_1: Round, tmp_path: Path) -> None:
    write_whole(trained.checkpoint, tmp_path / "export")
    assert (tmp_path / "export" / "model.safetensors").is_file()
    assert of_folder(tmp_path / "export", round_1.batch) == pytest.approx(
        of_folder(trained.checkpoint, round_1.batch), abs=2e-4
    )
    configs = [settings(folder / "config.json") for folder in (round_1.model, tmp_path / "export")]
    assert configs[0] == configs[1]
    generation = [settings(folder / "generation_config.json") for folder in (round_1.model, tmp_path / "export")]
    assert generation[0] == generation[1]


@pytest.mark.parametrize("weights", ["full", "lora"])
def test_packed_and_padded_passes_give_the_same_step(weights: str, round_1: Round, tmp_path: Path) -> None:
    packed, padded = (
        run(
            round_1.batch,
            round_1.model,
            tmp_path / packing,
            weights=weights,
            epochs=1,
            batch_size=12,
            runtime={"micro_batch_size": 4, "device": "cpu", "packing": packing},
        )
        for packing in ("auto", "off")
    )
    for name in ("loss", "grad_norm", "entropy"):
        assert packed.logged[1][name] == pytest.approx(padded.logged[1][name], abs=1e-4, rel=1e-4)
    by_id = {seen.row.rollout_id: seen.new for seen in padded.steps[0]}
    for seen in packed.steps[0]:
        assert torch.allclose(seen.new, by_id[seen.row.rollout_id], atol=1e-4)


def settings(path: Path) -> dict[str, Any]:
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return {name: value for name, value in found.items() if name not in LOADED}


def test_nothing_is_drawn_at_random_while_training(round_1: Round, tmp_path: Path) -> None:
    config = json.loads((round_1.model / "config.json").read_text(encoding="utf-8"))
    noisy = {
        name: 0.5 for name, value in config.items() if ("drop" in name or "jitter" in name) and isinstance(value, float)
    }
    for path in round_1.model.iterdir():
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "config.json").unlink()
    (tmp_path / "config.json").write_text(json.dumps({**config, **noisy}), encoding="utf-8")
    job = job_of(round_1.batch, tmp_path, tmp_path, lambda step, metrics: None)
    model = load_policy(job, "cpu").train()
    ids = torch.arange(12)[None]
    with torch.no_grad():
        assert torch.equal(model(ids).logits, model(ids).logits)
