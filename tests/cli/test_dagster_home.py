"""Which storage Dagster is pointed to, and what is written about it. No server is needed."""

from pathlib import Path

import pytest
import yaml

from rft_pipeline.errors import ConfigError
from rft_pipeline.runs import dagster_home
from rft_pipeline.store import Home, postgres
from tests.cli.small import Rft, assert_one_message

URL = "postgresql://rft:s3cret@127.0.0.1:1/rft_dagster"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home whose databases, if any are named, count as reachable."""
    monkeypatch.setattr(postgres, "require", lambda *_: None)
    for variable in ("MLFLOW_TRACKING_URI", dagster_home.POSTGRES):
        monkeypatch.delenv(variable, raising=False)
    return Home(root=tmp_path / "home", data=tmp_path / "data")


def storage(environment: dict[str, str]) -> object:
    text = (Path(environment["DAGSTER_HOME"]) / "dagster.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text).get("storage")


def test_setting_and_unsetting_the_variable_changes_the_storage_each_time(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert storage(dagster_home.prepare(home)) is None
    monkeypatch.setenv(dagster_home.POSTGRES, URL)
    assert storage(dagster_home.prepare(home)) == {"postgres": {"postgres_url": {"env": "RFT_DAGSTER_POSTGRES"}}}
    monkeypatch.delenv(dagster_home.POSTGRES)
    assert dagster_home.prepare(home)["DAGSTER_HOME"] == str(home.dagster)
    assert storage(dagster_home.prepare(home)) is None


def test_what_the_user_edited_holds_for_both_storages_and_is_not_overwritten(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    dagster_home.prepare(home)
    settings = home.dagster / "dagster.yaml"
    edited = settings.read_text(encoding="utf-8").replace("default_limit: 1", "default_limit: 3")
    settings.write_text(edited, encoding="utf-8")
    monkeypatch.setenv(dagster_home.POSTGRES, URL)
    made = yaml.safe_load((Path(dagster_home.prepare(home)["DAGSTER_HOME"]) / "dagster.yaml").read_text())
    assert made["concurrency"] == {"pools": {"default_limit": 3}}
    assert settings.read_text(encoding="utf-8") == edited


def test_the_password_is_in_the_environment_and_in_no_file(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(dagster_home.POSTGRES, URL)
    environment = dagster_home.prepare(home)
    assert environment["RFT_DAGSTER_POSTGRES"] == "postgresql+psycopg2://rft:s3cret@127.0.0.1:1/rft_dagster"
    assert not [path for path in home.root.rglob("*") if path.is_file() and b"s3cret" in path.read_bytes()]


def test_a_storage_of_the_users_own_is_not_replaced(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    dagster_home.prepare(home)
    with (home.dagster / "dagster.yaml").open("a", encoding="utf-8") as file:
        file.write("storage:\n  sqlite:\n    base_dir: /elsewhere\n")
    monkeypatch.setenv(dagster_home.POSTGRES, URL)
    with pytest.raises(
        ConfigError, match=r"dagster\.yaml: sets storage, and RFT_DAGSTER_POSTGRES is set too; remove one"
    ):
        dagster_home.prepare(home)


@pytest.mark.parametrize("url", ["mysql://me:s3cret@there/rft", "s3cret", "postgresql+pg8000://me:s3cret@there/rft"])
def test_another_kind_of_address_is_refused_without_being_repeated(
    home: Home, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv(dagster_home.POSTGRES, url)
    with pytest.raises(ConfigError, match="POSTGRES: must have the form postgresql://user:password@host") as refused:
        dagster_home.prepare(home)
    assert "s3cret" not in str(refused.value)


def test_a_tick_may_take_as_long_as_a_draw_does_unless_the_user_says_otherwise(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert dagster_home.prepare(home)["DAGSTER_SCHEDULE_GRPC_TIMEOUT_SECONDS"] == "1800"
    monkeypatch.setenv("DAGSTER_SCHEDULE_GRPC_TIMEOUT_SECONDS", "90")
    assert dagster_home.prepare(home)["DAGSTER_SCHEDULE_GRPC_TIMEOUT_SECONDS"] == "90"


def test_mlflow_is_told_which_driver_to_use(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    assert home.mlflow_uri == f"sqlite:///{home.root}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://me@there/mlflow")
    assert home.mlflow_uri == "postgresql+psycopg2://me@there/mlflow"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql+psycopg://me@there/mlflow")
    assert home.mlflow_uri == "postgresql+psycopg://me@there/mlflow"


@pytest.mark.parametrize("variable", ["RFT_DAGSTER_POSTGRES", "MLFLOW_TRACKING_URI"])
def test_a_missing_package_is_one_message_that_says_what_to_install(
    rft: Rft, tiny_campaign: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setattr(postgres, "find_spec", lambda package: None)
    monkeypatch.setenv(variable, URL)
    said = rft("run", "tiny")
    assert_one_message(said, f"{variable} names PostgreSQL, which needs", "pip install 'rft-pipeline[postgres]'")
    assert "s3cret" not in said.err
