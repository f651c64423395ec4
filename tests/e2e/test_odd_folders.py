"""A campaign whose folders have names that addresses would encode and patterns would read."""

import json
import shutil
from pathlib import Path

import pytest

from rft_pipeline.errors import ConfigError
from rft_pipeline.store import Home
from tests.assets.small import materialize
from tests.cli.small import Rft, assert_one_message
from tests.runs import edit
from tests.tiny_campaign import write_campaign

HOME = "a b=c#ö 50%*{x}'\""
"""What a state folder may be called."""
DATA = "a b#ö%20[x]"


@pytest.fixture
def rft(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Rft:
    return Rft(monkeypatch, capfd)


def test_a_campaign_runs_and_is_read_back_in_folders_with_odd_names(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rft: Rft
) -> None:
    from mlflow import MlflowClient

    root = tmp_path / DATA
    folder = write_campaign(root, tiny_model)
    shutil.copytree(tiny_model, folder / "model [1]%20#")
    edit(folder / "campaign.yaml", "rounds", 1)
    edit(folder / "campaign.yaml", "policy", {"model": "model [1]%20#", "system": "You are a support agent."})
    monkeypatch.chdir(root)
    monkeypatch.setenv("RFT_HOME", str(tmp_path / HOME))
    monkeypatch.delenv("RFT_DATA", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("RFT_DAGSTER_POSTGRES", raising=False)

    assert materialize(folder).success
    assert materialize(folder).success, "nothing is left to make"
    for command in ("check", "plan", "report", "verify", "gc"):
        said = rft(command, *([] if command in ("verify", "gc") else ["tiny"]))
        assert said.code == 0, said.err
    assert {step["action"] for step in json.loads(rft("plan", "tiny", "--json").out)["stages"]} == {"skip"}
    said = rft("trace", "tiny/round_1/checkpoints")
    assert said.code == 0, said.err

    home = Home.find()
    client = MlflowClient(tracking_uri=home.mlflow_uri)
    (experiment,) = client.search_experiments(filter_string="name = 'tiny'")
    runs = client.search_runs([experiment.experiment_id])
    (round_1,) = [run for run in runs if run.info.run_name == "round 1"]
    page = Path(client.download_artifacts(round_1.info.run_id, "report.html"))
    assert page.is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([HOME, DATA])


@pytest.mark.parametrize("name", ["a%20b", "[x]", "a?b", "a\\b"])
def test_a_home_that_cannot_hold_tables_or_databases_is_refused_before_anything_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rft: Rft
) -> None:
    monkeypatch.setenv("RFT_HOME", str(tmp_path / name))
    assert_one_message(rft("check", "tiny"), name, "set RFT_HOME to a folder")
    (tmp_path / "plain").symlink_to(tmp_path / name)
    monkeypatch.setenv("RFT_HOME", str(tmp_path / "plain"))
    with pytest.raises(ConfigError, match="set RFT_HOME"):
        Home.find()
