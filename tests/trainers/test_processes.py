"""Two processes that train together do what one does."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest
import torch
from safetensors.torch import load_file

from rft_pipeline.engines.weights import load_weights
from rft_pipeline.errors import EngineError
from rft_pipeline.progress import Progress
from rft_pipeline.stages.checkpoints import train_checkpoint
from rft_pipeline.trainers import TrainJob, launched
from rft_pipeline.trainers.launched_session import open_session
from rft_pipeline.trainers.launching import STEP_LOG, hand_over
from rft_pipeline.trainers.rows import LOGPROBS, TrainingRow
from tests.trainers.watched import job_of


class Trained(NamedTuple):
    metrics: dict[str, float]
    logged: dict[int, dict[str, float]]
    workdir: Path
    kept: Path


def train(batch: pl.DataFrame, start: Path, root: Path, processes: int, **training: Any) -> Trained:
    logged: dict[int, dict[str, float]] = {}
    workdir = root / f"{processes}"
    workdir.mkdir(parents=True)
    runtime = {"micro_batch_size": 2, "device": "cpu", "processes": processes, **training.pop("runtime", {})}
    job = job_of(batch, start, workdir, logged.__setitem__, runtime=runtime, **training)
    metrics = train_checkpoint(
        start,
        start,
        batch,
        job.weights,
        job.training,
        sampling=job.sampling,
        seed=7,
        workdir=workdir,
        kept=root / f"kept {processes}",
        log_step=job.log_step,
        progress=Progress("training"),
    )
    return Trained(metrics, logged, workdir, root / f"kept {processes}")


WATCH = """
import os, sys
rank = os.environ.get("RANK")
if rank is not None:
    writes = os.open(os.environ["WRITES"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    def watch(event, args):
        if event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+"):
            os.write(writes, f"{rank} {args[0]}\\n".encode())
    sys.addaudithook(watch)
"""
"""Makes every process that has a rank tell which files it opens to write."""


class Both(NamedTuple):
    one: Trained
    two: Trained
    writers: dict[str, set[int]]
    """File of the two's working folder → the ranks that wrote it."""


@pytest.fixture(scope="module")
def both(batch: pl.DataFrame, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Both:
    root = tmp_path_factory.mktemp("processes")
    exactly: dict[str, Any] = {"runtime": {"dtype": "float32"}}  # what is rounded apart in bf16 moves later steps apart
    one = train(batch, tiny_model, root, 1, **exactly)
    (root / "watch").mkdir()
    (root / "watch" / "sitecustomize.py").write_text(WATCH, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(root / "watch"), prepend=os.pathsep)
        patch.setenv("WRITES", str(root / "writes"))
        two = train(batch, tiny_model, root, 2, **exactly)
    writers: dict[str, set[int]] = {}
    for line in (root / "writes").read_text(encoding="utf-8").splitlines():
        rank, _, path = line.partition(" ")
        if Path(path).is_relative_to(two.workdir):
            writers.setdefault(str(Path(path).relative_to(two.workdir)), set()).add(int(rank))
    return Both(one, two, writers)


def test_two_processes_leave_the_old_log_probs_of_one(both: Both) -> None:
    one, two = (dict(pl.read_parquet(each.workdir / LOGPROBS).iter_rows()) for each in (both.one, both.two))
    assert one.keys() == two.keys()
    for name, logprobs in one.items():
        assert two[name] == pytest.approx(logprobs, abs=1e-3)


def movement(checkpoint: Path, start: Path) -> torch.Tensor:
    """What training added to the weights."""
    after, before = (load_file(folder / "model.safetensors") for folder in (checkpoint, start))
    return torch.cat([(after[name] - before[name]).flatten() for name in sorted(after)])


def test_their_training_is_that_of_one(both: Both, tiny_model: Path) -> None:
    one, two, _ = both
    assert sorted(two.logged) == sorted(one.logged) == [1, 2, 3, 4]
    for step in one.logged:
        for name in ("loss", "kl_to_start", "effective_share", "entropy"):
            assert two.logged[step][name] == pytest.approx(one.logged[step][name], abs=1e-3)
    assert two.metrics.keys() == one.metrics.keys()
    assert two.metrics["logprob_gap_mean"] == pytest.approx(one.metrics["logprob_gap_mean"], rel=0.1)
    moved = [movement(each.workdir / "checkpoint", tiny_model) for each in (one, two)]
    assert float(torch.nn.functional.cosine_similarity(*moved, dim=0)) > 0.95


def test_one_of_them_writes_and_nothing_else_is_left(both: Both) -> None:
    one, two = (
        [path.relative_to(each.workdir) for path in sorted(each.workdir.rglob("*"))] for each in (both.one, both.two)
    )
    assert two == one
    assert {"checkpoint/config.json", "job/result.json", "job/steps.jsonl"} <= both.writers.keys()
    assert set.union(*both.writers.values()) == {0}
    lines = (both.two.workdir / "steps.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4]


def test_a_process_ends_at_its_next_step_when_the_one_that_started_it_is_gone(
    batch: pl.DataFrame, tiny_model: Path, tmp_path: Path
) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    job = job_of(batch, tiny_model, tmp_path, lambda step, metrics: None)
    hand_over(job, tmp_path, parent=gone.pid)
    with pytest.raises(ProcessLookupError):
        launched.main(tmp_path)
    assert not (tmp_path / STEP_LOG).exists()
    assert not (tmp_path / "checkpoint").exists()


@pytest.mark.waits
def test_two_processes_share_the_pairs_of_dpo(batch: pl.DataFrame, tiny_model: Path, tmp_path: Path) -> None:
    how: dict[str, Any] = {"method": "dpo", "weights": "lora", "batch_size": 4, "epochs": 3}
    one, two = (train(batch, tiny_model, tmp_path, processes, **how) for processes in (1, 2))
    assert sorted(two.logged) == [1, 2, 3]
    for step in one.logged:
        assert two.logged[step]["loss"] == pytest.approx(one.logged[step]["loss"], abs=1e-4)


def test_a_failure_shows_what_the_processes_said(batch: pl.DataFrame, tiny_model: Path, tmp_path: Path) -> None:
    runtime = {"accelerate_config": str(tmp_path / "absent.yaml")}
    with pytest.raises(EngineError, match=r"(?s)in 2 processes failed with exit code .*absent\.yaml"):
        train(batch, tiny_model, tmp_path, 2, runtime=runtime)


def rows_of(batch: pl.DataFrame, job: TrainJob) -> list[TrainingRow]:
    return job.training.how.rows(batch, job.training, job.weights, job.seed)


@pytest.fixture(scope="module", params=["full", "lora"])
def in_generations(
    batch: pl.DataFrame, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> dict[int, dict[str, Any]]:
    """What sessions of one and of two processes did in three generations of one group each."""
    found: dict[int, dict[str, Any]] = {}
    for processes in (1, 2):
        root = tmp_path_factory.mktemp(f"generations-{processes}")
        logged: dict[int, dict[str, float]] = {}
        runtime = {"micro_batch_size": 4, "device": "cpu", "processes": processes, "save_steps": 1}
        how = {"batch_size": 4, "epochs": 1, "weights": request.param, "runtime": runtime}
        job = job_of(batch, tiny_model, root, logged.__setitem__, **how)
        rows = rows_of(batch, job)
        session = open_session(job)
        trained = [session.train(rows[start : start + 4], number) for number, start in enumerate((0, 4))]
        session.save()
        session.close()  # as if killed
        session = open_session(job)
        resumed = session.steps_done, session.generations_done
        trained.append(session.train(rows[8:], 2))
        share = session.effective_share(
            [replace(row, old_logprobs=old) for row, old in zip(rows[:4], trained[0].old_logprobs, strict=True)]
        )
        weights = {name: weight.clone() for name, weight in session.weights()}
        last = session.finish(root)
        left = sorted(path.name for folder in (root, job.kept) for path in folder.iterdir())
        found[processes] = {
            "logged": logged,
            "trained": trained,
            "share": share,
            "weights": weights,
            "last": last,
            "resumed": resumed,
            "left": left,
            "checkpoint": root / "checkpoint",
        }
    return found


@pytest.mark.waits
def test_two_processes_train_generation_by_generation_as_one(in_generations: dict[int, dict[str, Any]]) -> None:
    one, two = in_generations[1], in_generations[2]
    assert two["resumed"] == one["resumed"] == (2, 2)
    assert two["left"] == one["left"] == ["checkpoint", "checkpoint-2", "kept", "slices.json", "steps.jsonl"]
    assert sorted(two["logged"]) == [1, 2, 3]
    assert two["last"] == two["logged"][3]
    assert two["share"] == pytest.approx(one["share"], abs=0.05)
    for ours, theirs in zip(two["trained"], one["trained"], strict=True):
        assert ours.steps == theirs.steps == 1
        assert ours.metrics["loss"] == pytest.approx(theirs.metrics["loss"], abs=0.02)
        for row, expected in zip(ours.old_logprobs, theirs.old_logprobs, strict=True):
            assert row == pytest.approx(expected, abs=0.1)


@pytest.mark.waits
def test_two_processes_hand_their_weights_over(in_generations: dict[int, dict[str, Any]], tiny_model: Path) -> None:
    two = in_generations[2]
    plain, trained = (load_weights(folder, "float32", "cpu").state_dict() for folder in (tiny_model, two["checkpoint"]))
    assert two["weights"].keys() == plain.keys()
    assert any(not torch.equal(two["weights"][name], weight) for name, weight in plain.items())
    for name, weight in trained.items():
        assert torch.allclose(two["weights"][name], weight, atol=1e-6)


@pytest.mark.waits
def test_a_session_whose_processes_fail_says_what_they_said(
    batch: pl.DataFrame, tiny_model: Path, tmp_path: Path
) -> None:
    runtime = {"device": "cpu", "processes": 2}
    job = job_of(batch, tmp_path / "absent", tmp_path, lambda step, metrics: None, base=tiny_model, runtime=runtime)
    with pytest.raises(EngineError, match=r"(?s)in 2 processes failed with exit code .*absent"):
        open_session(job)
