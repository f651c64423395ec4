"""A training that is interrupted goes on from its last saved state, and ends as one that nobody disturbed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from rft_pipeline.progress import Progress
from rft_pipeline.stages.checkpoints import train_checkpoint
from rft_pipeline.trainers import kept, shared
from rft_pipeline.trainers.methods import METHODS
from tests.trainers.test_examples import with_references
from tests.trainers.watched import ADAPTER, job_of

Logged = list[tuple[int, dict[str, float]]]


def train(
    batch: pl.DataFrame, start: Path, scratch: Path, stop_after: int | None = None, save_steps: int = 2, **training: Any
) -> tuple[dict[str, float], Logged]:
    """Train eight steps or so, killed after a step if one is named."""
    logged: Logged = []

    def log_step(step: int, metrics: dict[str, float]) -> None:
        logged.append((step, metrics))
        if step == stop_after:
            raise InterruptedError

    runtime = {"micro_batch_size": 2, "device": "cpu", "save_steps": save_steps}
    how = {"batch_size": 4, "epochs": 3, "runtime": runtime, **training}
    job = job_of(with_references(batch), start, scratch, log_step, **how)
    return METHODS[job.training.method].train(job), logged


def interrupted(*args: Any, **training: Any) -> None:
    with pytest.raises(InterruptedError):
        train(*args, **training)


def timeless(logged: Logged) -> Logged:
    return [(step, {k: v for k, v in metrics.items() if k != "tokens_per_second"}) for step, metrics in logged]


GRPO = {"method": "grpo", "kl_beta": 0.05}


@pytest.mark.parametrize(
    "training",
    [
        GRPO,
        {**GRPO, "weights": "lora"},
        {"method": "grpo", "weights": "lora"},
        {"method": "raft", "epochs": 7},
        {"method": "dpo", "epochs": 7},
        {"method": "dpo", "weights": "lora", "epochs": 7},
        {"method": "sft", "epochs": 9, "warmup_steps": 4, "weights": "lora"},
    ],
    ids=lambda training: "-".join(str(value) for value in training.values()),
)
def test_an_interrupted_training_ends_with_the_same_weights(
    training: dict[str, Any], batch: pl.DataFrame, tiny_model: Path, tmp_path: Path
) -> None:
    last, logged = train(batch, tiny_model, tmp_path / "undisturbed", **training)
    scratch = tmp_path / "disturbed"
    # after step 3 step 2 is the last that was saved; after step 4, whose state is not saved yet, it is so still
    for stop_after in (3, 4):
        interrupted(batch, tiny_model, scratch, stop_after, **training)
    again, logged_again = train(batch, tiny_model, scratch, **training)
    file = ADAPTER if training.get("weights") == "lora" else "model.safetensors"
    both = [(tmp_path / name / "checkpoint" / file).read_bytes() for name in ("undisturbed", "disturbed")]
    assert both[0] == both[1]
    assert timeless(logged_again) == timeless(logged)
    assert timeless([(0, again)]) == timeless([(0, last)])


def test_training_goes_on_after_the_steps_that_were_saved(
    batch: pl.DataFrame, tiny_model: Path, tmp_path: Path
) -> None:
    interrupted(batch, tiny_model, tmp_path, 5, **GRPO)
    state = kept.last_state(tmp_path / "kept")
    assert state is not None
    assert kept.steps_of(state) == 4
    began = state.stat().st_mtime_ns
    _, logged = train(batch, tiny_model, tmp_path, **GRPO)
    assert [step for step, _ in logged] == list(range(1, 10))
    lines = (tmp_path / "kept" / kept.DONE).read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(1, 10))
    # states 6 and 8 took the place of 4; none is saved once training is over
    assert kept.steps_of(kept.last_state(tmp_path / "kept")) == 8
    assert began < (tmp_path / "kept" / "checkpoint-8").stat().st_mtime_ns


def test_a_step_that_could_not_be_told_is_not_remembered(batch: pl.DataFrame, tiny_model: Path, tmp_path: Path) -> None:
    """Whom a process cannot tell is gone, and a rerun may be at the same work: its file is not to be written to."""
    interrupted(batch, tiny_model, tmp_path, 3, **GRPO)
    lines = (tmp_path / "kept" / kept.DONE).read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2]


def test_steps_taken_before_a_kill_are_no_steps_of_the_run_that_goes_on(
    batch: pl.DataFrame, tiny_model: Path, tmp_path: Path
) -> None:
    interrupted(batch, tiny_model, tmp_path, 5, **GRPO)
    progress, logged = Progress("training"), []
    how = {"batch_size": 4, "epochs": 3, "runtime": {"micro_batch_size": 2, "device": "cpu", "save_steps": 2}, **GRPO}
    job = job_of(batch, tiny_model, tmp_path, lambda step, metrics: logged.append(step), **how)
    metrics = train_checkpoint(
        *(job.start, job.base, job.batch, job.weights, job.training, job.sampling, job.seed),
        workdir=job.scratch,
        kept=job.kept,
        log_step=job.log_step,
        progress=progress,
    )
    assert logged == list(range(1, 10))
    assert metrics["steps"] == 9
    assert progress.spent["steps"]["count"] == 5  # step 4 was saved


def half_written(state: Path) -> None:
    text = (state / "trainer_state.json").read_text(encoding="utf-8")
    (state / "trainer_state.json").write_text(text[: len(text) // 2], encoding="utf-8")


def without_its_end(state: Path) -> None:
    (state / "trainer_state.json").unlink()


@pytest.mark.parametrize("damage", [half_written, without_its_end])
def test_a_state_that_was_being_written_is_passed_over(damage: Callable[[Path], None], tmp_path: Path) -> None:
    for step in (9, 10):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text('{"global_step": 0}', encoding="utf-8")
    assert kept.steps_of(kept.last_state(tmp_path)) == 10
    damage(tmp_path / "checkpoint-10")
    assert kept.steps_of(kept.last_state(tmp_path)) == 9


def test_a_state_of_work_cut_into_other_pieces_is_dropped(
    batch: pl.DataFrame, tiny_model: Path, tmp_path: Path
) -> None:
    interrupted(batch, tiny_model, tmp_path, 5, **GRPO)
    interrupted(batch, tiny_model, tmp_path, 1, **GRPO, runtime={"micro_batch_size": 4, "device": "cpu"})
    assert kept.last_state(tmp_path / "kept") is None


def test_a_state_of_work_that_was_launched_in_another_way_is_dropped(tmp_path: Path) -> None:
    config = tmp_path / "fsdp.yaml"
    config.write_text("fsdp_config: {}\n", encoding="utf-8")
    runtime = {"device": "cpu", "processes": 2, "accelerate_config": str(config)}
    job = job_of(pl.DataFrame(), tmp_path, tmp_path, lambda step, metrics: None, runtime=runtime)
    shared.common_config(job)
    (job.kept / "checkpoint-3").mkdir()
    (job.kept / "checkpoint-3" / "trainer_state.json").write_text("{}", encoding="utf-8")
    assert kept.steps_done(job.kept, job.training) == 3
    config.write_text("fsdp_config: {fsdp_version: 2}\n", encoding="utf-8")
    assert kept.steps_done(job.kept, job.training) == 0
    shared.common_config(job)
    assert kept.last_state(job.kept) is None


def test_a_round_that_is_cut_short_ends_the_same_after_an_interruption(
    batch: pl.DataFrame, tiny_model: Path, tmp_path: Path
) -> None:
    _, logged = train(batch, tiny_model, tmp_path / "all", **GRPO)
    shares = [metrics["effective_share"] for _, metrics in logged]
    least = sorted(shares)[len(shares) // 2]
    stops = next(i for i, share in enumerate(shares, start=1) if share < least)
    how = {**GRPO, "min_effective_share": least}
    undisturbed, _ = train(batch, tiny_model, tmp_path / "one", save_steps=1, **how)
    interrupted(batch, tiny_model, tmp_path / "two", stops, save_steps=1, **how)
    again, _ = train(batch, tiny_model, tmp_path / "two", save_steps=1, **how)
    assert again["stopped_at_step"] == undisturbed["stopped_at_step"] == stops
