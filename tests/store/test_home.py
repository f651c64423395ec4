"""The home's addresses."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rft_pipeline.errors import ConfigError
from rft_pipeline.store import Home
from rft_pipeline.store.shared import COPY_OF


def test_mlflow_is_given_an_address_without_the_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://rft:s3%40cret@127.0.0.1:9/mlflow")
    client = Home(tmp_path / "home", tmp_path / "data").mlflow_client()
    assert client.tracking_uri == "http://127.0.0.1:9/mlflow"
    assert (os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"]) == ("rft", "s3@cret")


def test_an_address_is_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RFT_HOME", "s3://key:s3cret@bucket/rft")
    with pytest.raises(ConfigError, match=r"RFT_HOME=s3://…@bucket/rft: must be a folder; RFT_STORE may name"):
        Home.find()


@pytest.mark.parametrize("address", ["/mnt/store", "ftp://host/rft", "s3://", "s3://bucket/a home", "s3://bucket/ö"])
def test_another_address_is_no_shared_store(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RFT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RFT_STORE", address)
    with pytest.raises(ConfigError, match=re.escape(address)):
        Home.find()
    assert not (tmp_path / "home").exists()


def test_a_home_with_a_store_of_its_own_copies_no_bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "home" / "store").mkdir(parents=True)
    monkeypatch.setenv("RFT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RFT_STORE", "s3://bucket/rft")
    with pytest.raises(ConfigError, match="holds a store of its own; copy it with `rft store copy"):
        Home.find()


@pytest.mark.parametrize("address", ["", "s3://bucket/other"])
def test_a_copy_of_a_bucket_is_used_with_that_bucket_alone(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = {"url": "s3://bucket/rft", "machine": "a"}
    (tmp_path / COPY_OF).write_text(json.dumps(about), encoding="utf-8")
    monkeypatch.setenv("RFT_HOME", str(tmp_path))
    monkeypatch.setenv("RFT_STORE", address)
    with pytest.raises(ConfigError, match="holds a copy of s3://bucket/rft; set RFT_STORE=s3://bucket/rft, or"):
        Home.find()


def test_campaigns_are_those_of_the_current_folder_or_of_the_nearest_above(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RFT_HOME", raising=False)
    monkeypatch.delenv("RFT_DATA", raising=False)
    campaign = tmp_path / "desk" / "data" / "tickets"
    (campaign / "prompts").mkdir(parents=True)
    (tmp_path / "data").mkdir()  # of something else
    monkeypatch.chdir(campaign)
    assert Home.find() == Home(campaign / ".rft", campaign / "data")
    (campaign / "campaign.yaml").touch()
    for here in (campaign / "prompts", campaign, tmp_path / "desk"):
        monkeypatch.chdir(here)
        assert Home.find() == Home(tmp_path / "desk" / ".rft", tmp_path / "desk" / "data")
    monkeypatch.chdir(tmp_path)
    assert Home.find() == Home(tmp_path / ".rft", tmp_path / "data")
    monkeypatch.setenv("RFT_DATA", str(campaign.parent))
    assert Home.find() == Home(tmp_path / "desk" / ".rft", tmp_path / "desk" / "data")


FIRST_USES = (
    "Home.find().mlflow_client()",
    "from rft_pipeline.labels.queues import mlflow_errors\nwith mlflow_errors(Home.find()): pass",
)
SHOW_SETTING = """
import os, sys
class Finder:
    def find_spec(self, name, *_):
        if name == "mlflow":
            print(os.environ["MLFLOW_DISABLE_TELEMETRY"])
sys.meta_path.insert(0, Finder())
from rft_pipeline.store import Home
"""
"""Prints the setting with which MLflow is imported."""


@pytest.mark.parametrize("first_use", FIRST_USES)
def test_mlflow_says_nothing_about_a_new_database_and_sends_no_usage_data(first_use: str, tmp_path: Path) -> None:
    quiet = ("MLFLOW_LOGGING_LEVEL", "MLFLOW_DISABLE_TELEMETRY")
    environment = {name: value for name, value in os.environ.items() if name not in quiet}
    environment |= {"RFT_HOME": str(tmp_path / "home"), "RFT_DATA": str(tmp_path / "data")}
    (tmp_path / "home").mkdir()
    command = [sys.executable, "-c", SHOW_SETTING + first_use]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("true\n", "")
