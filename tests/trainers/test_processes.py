"""Two processes that train together do what one does."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from safetensors.torch import load_file

from rft_pipeline.errors import EngineError
from rft_pipeline.trainers.launching import train_launched
from rft_pipeline.trainers.methods import METHODS
from tests.trainers.watched import job_of

Logged = dict[int, dict[str, float]]


def train(batch: pl.DataFrame, start: Path, scratch: Path, processes: int, **training: Any) -> tuple[Any, Logged]:
    logged: Logged = {}
    scratch.mkdir()
    runtime = {"micro_batch_size": 2, "device": "cpu", "processes": processes, **training.pop("runtime", {})}
    job = job_of(batch, start, scratch, logged.__setitem__, runtime=runtime, **training)
    result = METHODS[job.training.method].train(job) if processes == 1 else train_launched(job)
    return result, logged


def advantages(kept: Path) -> list[float]:
    files = sorted(kept.glob("round-*.safetensors"))
    parts = [load_file(file) for file in files]
    slices = sorted({int(name.partition(".")[0]) for name in parts[0] if "." in name})
    return [float(a) for i in slices for part in parts for a in part[f"{i}.advantages"]]


@pytest.fixture(scope="module")
def both(batch: pl.DataFrame, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Any]:
    root = tmp_path_factory.mktemp("processes")
    found = {
        processes: (*train(batch, tiny_model, root / str(processes), processes), root / str(processes))
        for processes in (1, 2)
    }
    return found


def test_two_processes_train_on_the_advantages_of_one_in_the_same_steps(both: dict[int, Any]) -> None:
    one, two = (advantages(both[processes][2] / "kept") for processes in (1, 2))
    assert len(two) == 16
    for step in range(2):  # of eight rollouts
        rows = slice(8 * step, 8 * (step + 1))
        assert sorted(two[rows]) == pytest.approx(sorted(one[rows]), abs=1e-6)


def test_their_loss_is_that_of_one(both: dict[int, Any]) -> None:
    (last, one, _), (last_two, two, _) = both[1], both[2]
    assert sorted(two) == sorted(one) == [1, 2, 3, 4]
    assert two[1]["loss"] == pytest.approx(one[1]["loss"], abs=1e-4)
    assert two[1]["grad_norm"] == pytest.approx(one[1]["grad_norm"], rel=0.02)  # bf16
    assert set(last_two) == set(last)
    assert last_two["logprob_gap_mean"] == pytest.approx(last["logprob_gap_mean"], rel=0.1)


def test_one_of_them_writes_and_nothing_else_is_left(both: dict[int, Any]) -> None:
    one, two = both[1][2], both[2][2]
    assert sorted(path.name for path in (two / "checkpoint").iterdir()) == sorted(
        path.name for path in (one / "checkpoint").iterdir()
    )
    assert sorted(path.name for path in two.iterdir()) == ["checkpoint", "kept"]
    lines = (two / "kept" / "steps.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4]
    weights = [load_file(folder / "checkpoint" / "model.safetensors") for folder in (one, two)]
    assert weights[0].keys() == weights[1].keys()
    assert any(not torch.equal(weights[0][name], load_file) for name, load_file in weights[1].items())


def test_a_failure_shows_what_the_processes_said(batch: pl.DataFrame, tiny_model: Path, tmp_path: Path) -> None:
    runtime = {"accelerate_config": str(tmp_path / "absent.yaml")}
    with pytest.raises(EngineError, match=r"(?s)in 2 processes failed with exit code .*absent\.yaml"):
        train(batch, tiny_model, tmp_path / "run", 2, runtime=runtime)
