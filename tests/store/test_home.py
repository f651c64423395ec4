"""The home's addresses."""

import os
from pathlib import Path

import pytest

from rft_pipeline.errors import ConfigError
from rft_pipeline.store import Home


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
    with pytest.raises(ConfigError, match=r"RFT_HOME=s3://…@bucket/rft: must be a folder; `rft store copy` copies"):
        Home.find()
