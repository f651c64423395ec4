"""The real thing in small: the embedded model tuned on a few prompts of the shipped campaign, by `rft`."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import mlflow
import polars as pl
import pytest
import yaml

from rft_pipeline import models
from rft_pipeline.store import Home, RecordStore

pytestmark = pytest.mark.e2e

SHIPPED = Path(__file__).resolve().parents[2] / "data" / "support_reply"
STAGES = 4 + 5 + 1


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with the embedded model and a one-round campaign: 3 prompts × 4 rollouts, 4 eval prompts."""
    root = tmp_path_factory.mktemp("home")
    fetched = models.resolve("embedded", Home.find().models, SHIPPED).folder
    (root / ".rft" / "models").mkdir(parents=True)
    (root / ".rft" / "models" / models.EMBEDDED_FOLDER).symlink_to(fetched)
    folder = root / "data" / "support_reply"
    shutil.copytree(SHIPPED, folder)
    lines = (folder / "prompts" / "eval.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "prompts" / "eval.jsonl").write_text("".join(lines[:4]), encoding="utf-8")
    settings = yaml.safe_load((folder / "campaign.yaml").read_text(encoding="utf-8"))
    settings["rounds"] = 1
    del settings["audit"], settings["alarms"]  # with 4 eval prompts they have nothing to say
    settings["rollouts"] |= {"prompts_per_round": 3, "group_size": 4}
    settings["rollouts"]["sampling"]["max_new_tokens"] = 32
    settings["training"] |= {"batch_size": 4}
    settings["evaluation"]["samples_per_prompt"] = 1
    (folder / "campaign.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    return Home(root=root / ".rft", data=root / "data")


def rft(home: Home, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "RFT_HOME": str(home.root), "RFT_DATA": str(home.data), "COLUMNS": "200"}
    command = [sys.executable, "-m", "rft_pipeline.cli", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_the_embedded_model_is_tuned_and_a_second_run_makes_nothing(home: Home) -> None:
    first = rft(home, "run", "support_reply")
    assert first.returncode == 0, first.stderr
    assert f"0 of {STAGES} stages cached, {STAGES} made" in first.stderr

    records = RecordStore(home.store)
    batch = records.current("support_reply/round_1/reward_batches")
    checkpoint = records.current("support_reply/round_1/checkpoints")
    policy = records.current("support_reply/policy")
    assert batch is not None
    assert checkpoint is not None
    assert policy is not None
    rows = pl.read_parquet(batch.path("reward_batches.parquet"))
    assert rows.height == 12
    assert rows.group_by("prompt_id").agg(pl.col("advantage").sum().abs())["advantage"].max() < 1e-6  # type: ignore[operator]
    assert checkpoint.content_hash != policy.content_hash
    size = checkpoint.path("checkpoint/model.safetensors").stat().st_size
    assert 260_000_000 < size < 300_000_000  # whole weights in bfloat16, as the model's own

    report = json.loads(rft(home, "report", "support_reply", "--json").stdout)
    assert [each["round"] for each in report["rounds"]] == [0, 1]
    assert all(0 < each["lower95"] < each["reward"] < each["upper95"] < 1 for each in report["rounds"])
    assert "<svg" in Path(report["report"]).read_text(encoding="utf-8")

    client = mlflow.MlflowClient(tracking_uri=home.mlflow_uri)
    steps = client.get_metric_history(checkpoint.mlflow_run_id, "train/loss")
    assert len(steps) == checkpoint.rows["steps"] == 3

    second = rft(home, "run", "support_reply")
    assert f"{STAGES} of {STAGES} stages cached, 0 made" in second.stderr
