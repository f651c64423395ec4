"""A session trains generation by generation, hands its weights over after each, and continues after a kill."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from rft_pipeline.engines.weights import load_weights
from rft_pipeline.trainers import kept
from rft_pipeline.trainers.learner import Generation
from rft_pipeline.trainers.methods import METHODS
from rft_pipeline.trainers.rows import Trained, TrainingRow
from rft_pipeline.trainers.session import Session
from tests.trainers.watched import ADAPTER, assert_same_weights, job_of

Logged = dict[int, dict[str, float]]


@pytest.fixture(scope="module")
def rows(batch: pl.DataFrame, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> list[TrainingRow]:
    """Three groups."""
    job = job_of(batch, tiny_model, tmp_path_factory.mktemp("rows"), lambda step, metrics: None)
    return METHODS["grpo"].rows(batch, job.training, job.weights, 7)


def opened(start: Path, scratch: Path, log_step: Callable[..., None] | None = None, **training: Any) -> Session:
    runtime = {"micro_batch_size": 4, "device": "cpu", "save_steps": 2, "dtype": "float32"}
    how = {"batch_size": 4, "epochs": 1, "runtime": runtime, "learning_rate": 1e-2, **training}
    job = job_of(pl.DataFrame(), start, scratch, log_step or (lambda step, metrics: None), **how)
    return Session(job)


def generations(rows: list[TrainingRow]) -> list[list[TrainingRow]]:
    return [rows[:4], rows[4:8], rows[8:12], rows[:4], rows[4:8]]


def train(session: Session, rows: list[TrainingRow]) -> list[Trained]:
    """What a loop of generations does."""
    found = []
    for number, part in enumerate(generations(rows)):
        if number >= session.generations_done:
            found.append(session.train(part, number))
            session.save()
    return found


def test_each_generation_starts_with_the_policy_that_the_last_one_left(
    rows: list[TrainingRow], tiny_model: Path, tmp_path: Path
) -> None:
    logged: Logged = {}
    session = opened(tiny_model, tmp_path, logged.__setitem__)
    found = train(session, rows)
    assert sorted(logged) == [1, 2, 3, 4, 5]
    assert [each.steps for each in found] == [1] * 5
    # each step is the first of its generation
    assert all(metrics["kl_to_start"] == 0 and metrics["clip_ratio"] == 0 for metrics in logged.values())
    first, again = found[0].old_logprobs, found[3].old_logprobs
    assert first[0] == pytest.approx(rows[0].logprobs, abs=1e-4)
    assert max(abs(a - b) for a, b in zip(first[0], again[0], strict=True)) > 1e-3


def test_a_masked_thought_trains_as_if_it_were_part_of_the_prompt(
    rows: list[TrainingRow], tiny_model: Path, tmp_path: Path
) -> None:
    start = [min(2, len(row.tokens) - 1) for row in rows[:4]]
    thinking = [replace(row, masked=k) for row, k in zip(rows, start, strict=False)]
    asked = [
        replace(row, prompt_tokens=[*row.prompt_tokens, *row.tokens[:k]], tokens=row.tokens[k:])
        for row, k in zip(rows, start, strict=False)
    ]
    found = []
    for name, some in {"masked": thinking, "asked": asked, "all": rows[:4]}.items():
        learner = opened(tiny_model, tmp_path / name).learner
        learner.backward(Generation(some), range(4), 1)
        found.append(torch.cat([weight.grad.flatten() for weight in learner.model.parameters()]))
    masked, prompted, whole = found
    assert torch.allclose(masked, prompted, rtol=1e-3, atol=1e-6)
    assert not torch.allclose(masked, whole, rtol=1e-2, atol=1e-4)


def test_tokens_of_an_environment_train_as_if_they_were_asked(
    rows: list[TrainingRow], tiny_model: Path, tmp_path: Path
) -> None:
    long = [row for row in rows[:4] if len(row.tokens) > 3]
    answered = [replace(row, environment=[1, 2], old_logprobs=[-1.0] * len(row.tokens)) for row in long]
    one_by_one = []
    for row in long:
        cut = replace(row, old_logprobs=[-1.0])
        prompt, tokens = row.prompt_tokens, row.tokens
        one_by_one.append(replace(cut, tokens=tokens[:1]))
        later = replace(cut, prompt_tokens=[*prompt, *tokens[:3]], tokens=tokens[3:])
        one_by_one.append(replace(later, old_logprobs=[-1.0] * len(later.tokens)))
    found = []
    for name, some in {"answered": answered, "one by one": one_by_one, "all": long}.items():
        learner = opened(tiny_model, tmp_path / name, batch_size=len(some)).learner
        sums = learner.backward(Generation(some), range(len(some)), 1)
        found.append(torch.cat([weight.grad.flatten() for weight in learner.model.parameters()]))
        counted = sum(len(row.tokens) - 2 * (name == "answered") for row in some)
        assert sums["tokens"] == counted
    masked, parted, whole = found
    assert torch.allclose(masked, parted, rtol=1e-3, atol=1e-6)
    assert not torch.allclose(masked, whole, rtol=1e-2, atol=1e-4)


def test_a_generation_without_a_live_row_takes_no_step(
    rows: list[TrainingRow], tiny_model: Path, tmp_path: Path
) -> None:
    session = opened(tiny_model, tmp_path)
    before = {name: weight.clone() for name, weight in session.weights()}
    nothing = [replace(row, live=False) for row in rows[:4]]
    found = session.train(nothing, 0)
    assert (found.steps, found.metrics, session.steps_done, session.generations_done) == (0, {}, 0, 1)
    assert found.old_logprobs[0] == pytest.approx(rows[0].logprobs, abs=1e-4)
    assert session.train([], 1) == Trained({}, 0, [])
    assert all(torch.equal(weight, before[name]) for name, weight in session.weights())


@pytest.mark.parametrize("weights", ["full", "lora"])
def test_the_weights_are_handed_over_as_those_of_the_plain_model(
    weights: str, rows: list[TrainingRow], tiny_model: Path, tmp_path: Path
) -> None:
    session = opened(tiny_model, tmp_path, weights=weights)
    session.train(rows[:4], 0)
    handed = {name: weight.clone() for name, weight in session.weights()}
    plain = load_weights(tiny_model, "float32", "cpu")
    assert handed.keys() == plain.state_dict().keys()
    session.finish(tmp_path)
    checkpoint = load_weights(tmp_path / "checkpoint", "float32", "cpu").state_dict()
    for name, weight in checkpoint.items():
        assert torch.allclose(handed[name], weight, atol=1e-6), name
    assert any(not torch.equal(handed[name], weight) for name, weight in plain.state_dict().items())
    # the trained model is as before
    session.train(rows[4:8], 1)


@pytest.mark.parametrize("training", [{}, {"weights": "lora"}, {"kl_beta": 0.1, "kl_to": "start"}, {"epochs": 3}])
def test_a_killed_session_ends_with_the_same_weights(
    training: dict[str, Any], rows: list[TrainingRow], tiny_model: Path, tmp_path: Path
) -> None:
    logged: dict[str, Logged] = {"undisturbed": {}, "killed": {}}
    session = opened(tiny_model, tmp_path / "undisturbed", logged["undisturbed"].__setitem__, **training)
    old = [each.old_logprobs for each in train(session, rows)]
    (tmp_path / "undisturbed").mkdir(exist_ok=True)
    session.finish(tmp_path / "undisturbed")

    def killed(step: int, metrics: dict[str, float]) -> None:
        logged["killed"][step] = metrics
        if step == 4:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        train(opened(tiny_model, tmp_path / "killed", killed, **training), rows)
    again = opened(tiny_model, tmp_path / "killed", logged["killed"].__setitem__, **training)
    # step 2 is the last that was saved: the end of generation 1, or the middle of generation 0
    assert again.steps_done == 2
    assert again.generations_done == (0 if "epochs" in training else 2)
    rest = [each.old_logprobs for each in train(again, rows)]
    assert rest == old[-len(rest) :]
    again.finish(tmp_path / "killed")
    file = ADAPTER if training.get("weights") == "lora" else "model.safetensors"
    assert_same_weights(*(tmp_path / name / "checkpoint" / file for name in logged))
    timeless = [
        {step: {**metrics, "tokens_per_second": 0.0} for step, metrics in each.items()} for each in logged.values()
    ]
    assert timeless[0] == timeless[1]


def test_a_state_is_saved_every_so_many_steps_and_only_the_newest_stays(
    rows: list[TrainingRow], tiny_model: Path, tmp_path: Path
) -> None:
    train(opened(tiny_model, tmp_path), rows)
    assert [path.name for path in (tmp_path / "kept").glob("checkpoint-*")] == ["checkpoint-4"]
    assert kept.steps_of(kept.last_state(tmp_path / "kept")) == 4


def test_rollouts_of_an_earlier_policy_are_weighed_by_their_ratio_to_it(
    rows: list[TrainingRow], tiny_model: Path, tmp_path: Path
) -> None:
    logged: Logged = {}
    session = opened(tiny_model, tmp_path, logged.__setitem__)
    first = session.train(rows[:4], 0)
    stored = [replace(row, old_logprobs=old) for row, old in zip(rows[:4], first.old_logprobs, strict=True)]
    share = session.effective_share(stored)
    assert 0.25 < share < 1
    assert session.effective_share(rows[:4]) == 1
    found = session.train(stored, 1)
    assert logged[2]["effective_share"] == pytest.approx(share, abs=1e-5)
    assert logged[2]["kl_to_start"] == 0
    # the engine's log-probs belong to the earlier policy
    assert "logprob_gap_mean" in first.metrics
    assert "logprob_gap_mean" not in found.metrics


def test_the_learning_rate_warms_up_over_generations(rows: list[TrainingRow], tiny_model: Path, tmp_path: Path) -> None:
    logged: Logged = {}
    train(opened(tiny_model, tmp_path, logged.__setitem__, warmup_steps=4), rows)
    assert [logged[step]["learning_rate"] for step in range(1, 6)] == [0, 0.0025, 0.005, 0.0075, 0.01]


def test_raft_imitates_the_best_of_each_generation(batch: pl.DataFrame, tiny_model: Path, tmp_path: Path) -> None:
    logged: Logged = {}
    session = opened(tiny_model, tmp_path, logged.__setitem__, method="raft")
    how, training = METHODS["raft"], session.training
    best = how.rows(batch, training, {}, 7)
    assert sorted(row.group for row in best) == ["desk", "gapped", "lamp"]
    assert sorted(row.rollout_id for row in best) == ["desk-2", "gapped-3", "lamp-0"]
    found = [session.train(best, number) for number in range(3)]
    assert [each.steps for each in found] == [1, 1, 1]
    assert logged[3]["loss"] < logged[1]["loss"]
    assert set(logged[1]) == {
        *("loss", "grad_norm", "learning_rate", "entropy", "token_accuracy", "tokens_per_second"),
    }
    flat = how.rows(batch.filter(prompt_id="flat"), training, {}, 7)
    assert (flat, session.train(flat, 3).steps) == ([], 0)
