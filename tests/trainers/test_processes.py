"""Two processes that train together do what one does."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest
from safetensors.torch import load_file

from rft_pipeline.errors import EngineError
from rft_pipeline.progress import Progress
from rft_pipeline.stages.checkpoints import train_checkpoint
from tests.trainers.watched import assert_same_weights, job_of


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
        temperature=1.0,
        seed=7,
        workdir=workdir,
        kept=root / f"kept {processes}",
        log_step=job.log_step,
        progress=Progress("training"),
    )
    return Trained(metrics, logged, workdir, root / f"kept {processes}")


def advantages(kept: Path) -> list[float]:
    """Of the whole round, in the order of steps."""
    parts = [load_file(file) for file in sorted(kept.glob("round-*.safetensors"))]
    slices = sorted({int(name.partition(".")[0]) for name in parts[0] if "." in name})
    return [float(each) for i in slices for part in parts for each in part[f"{i}.advantages"]]


@pytest.fixture(scope="module")
def both(batch: pl.DataFrame, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Trained]:
    root = tmp_path_factory.mktemp("processes")
    return [train(batch, tiny_model, root, processes) for processes in (1, 2)]


def test_two_processes_train_on_the_advantages_of_one_in_the_same_steps(both: list[Trained]) -> None:
    one, two = both
    assert len(list(two.kept.glob("round-*.safetensors"))) == 2
    assert len(advantages(two.kept)) == 16
    for rows in (slice(0, 8), slice(8, 16)):
        assert sorted(advantages(two.kept)[rows]) == pytest.approx(sorted(advantages(one.kept)[rows]), abs=1e-6)


def test_their_loss_is_that_of_one(both: list[Trained]) -> None:
    one, two = both
    assert sorted(two.logged) == sorted(one.logged) == [1, 2, 3, 4]
    for step in one.logged:
        assert two.logged[step]["loss"] == pytest.approx(one.logged[step]["loss"], abs=1e-4)
        assert two.logged[step]["kl_to_start"] == pytest.approx(one.logged[step]["kl_to_start"], abs=1e-4)
        assert two.logged[step]["effective_share"] == pytest.approx(one.logged[step]["effective_share"], abs=1e-4)
    assert two.metrics.keys() == one.metrics.keys()
    assert two.metrics["logprob_gap_mean"] == pytest.approx(one.metrics["logprob_gap_mean"], rel=1e-3)
    assert_same_weights(*(each.workdir / "checkpoint" / "model.safetensors" for each in both), atol=1e-4)


def test_one_of_them_writes_and_nothing_else_is_left(both: list[Trained]) -> None:
    one, two = ([path.relative_to(each.workdir) for path in sorted(each.workdir.rglob("*"))] for each in both)
    assert two == one
    lines = (both[1].workdir / "steps.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4]


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
