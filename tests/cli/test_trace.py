"""`rft trace` as a user meets it."""

import json
import subprocess
import sys
from pathlib import Path

import polars as pl

from rft_pipeline.store import Home, RecordStore, rollouts_table
from tests.cli.small import Rft, assert_one_message


def first_rollout() -> str:
    batch = RecordStore(Home.find().store).current("tiny/round_1/reward_batches")
    assert batch is not None
    return str(pl.read_parquet(batch.path("reward_batches.parquet"))["rollout_id"][0])


def test_a_checkpoint_is_shown_with_its_chain(rft: Rft, finished_home: Path) -> None:
    said = rft("trace", "tiny/round_2/checkpoints")
    assert said.code == 0
    for part in ("current", "learning_rate 0.001", "MLflow run", "checkpoints, back to the base policy", "0.286"):
        assert part in said.out
    assert said.out.index("├── tiny/round_2/checkpoints/") < said.out.index("├── tiny/round_1/checkpoints/")
    assert "└── tiny/policy/" in said.out


def test_every_kind_is_shown_and_told_as_json(rft: Rft, finished_home: Path) -> None:
    names = {
        "tiny/round_1/reward_batches": "record",
        first_rollout(): "rollout",
        "train-01": "prompt",
        "eval-01": "prompt",
        "tiny:polite": "criterion",
    }
    for what, kind in names.items():
        assert rft("trace", what).code == 0
        told = json.loads(rft("trace", what, "--json").out)
        assert told["kind"] == kind


def test_an_unknown_name_is_one_message(rft: Rft, finished_home: Path) -> None:
    assert_one_message(
        rft("trace", "tiny/round_1/rollout"), "similar names: tiny/round_1/rollouts", "`rft trace` accepts"
    )


def test_a_completion_cannot_steer_the_terminal(rft: Rft, finished_copy: Path) -> None:
    table = rollouts_table(Home.find().store)
    row = table.rows().head(1).collect()
    text = pl.lit("\x1b[2J[bold]wiped[/]\x07").alias("completion")
    table.append(row.with_columns(pl.lit("0123456789abcdef").alias("rollout_id"), text))
    out = rft("trace", "0123456789abcdef").out
    assert "\x1b" not in out
    assert "[2J[bold]wiped[/]" in out


def test_tracing_imports_nothing_heavy(finished_home: Path) -> None:
    code = (
        "import sys; from rft_pipeline.cli.app import app; app(['trace', 'tiny:polite'], standalone_mode=False);"
        "sys.exit([name for name in ('torch', 'transformers', 'trl', 'mlflow', 'dagster') if name in sys.modules] or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
