"""The pages of records on Dagster's server, and the ways between it and MLflow's, whatever ports are in use."""

import re
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import EmptyWorkspaceTarget
from starlette.testclient import TestClient

from rft_pipeline.servers.webserver import Webserver
from rft_pipeline.store import Home, Record, RecordStore
from tests.assets.small import instance


@pytest.fixture
def dagster(finished_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """Dagster's server, where MLflow's is on another port than when the campaign was made."""
    monkeypatch.setenv("RFT_MLFLOW_URL", "http://127.0.0.1:5999")
    with instance() as running, WorkspaceProcessContext(running, EmptyWorkspaceTarget()) as context:
        yield TestClient(Webserver(context).create_asgi_app(), "http://rft.localhost:3999", follow_redirects=False)


def promotion() -> Record:
    found = RecordStore(Home.find().store).current("tiny/promotion")
    assert found is not None
    return found


def addresses() -> list[str]:
    """The addresses in the metadata of a materialization with pages and plots."""
    with instance() as running:
        event = running.get_latest_materialization_event(dg.AssetKey(["tiny", "promotion"]))
    assert event is not None
    assert event.asset_materialization is not None
    metadata = event.asset_materialization.metadata.values()
    return [found for each in metadata for found in re.findall(r"\[.*?\]\((.*?)\)", str(each.value))]


def test_every_address_in_the_metadata_opens(dagster: TestClient) -> None:
    kinds = {"html": "text/html; charset=utf-8", "png": "image/png"}
    opened = []
    for address in addresses():
        answer = dagster.get(address)
        if address.startswith("/rft/mlflow/"):
            assert answer.headers["location"] == "http://rft.localhost:5999/"  # a browser keeps what follows `#`
        else:
            assert answer.status_code == 200
            assert answer.headers["content-type"] == kinds[address.rpartition(".")[2]]
            assert answer.headers["content-security-policy"] == "sandbox allow-scripts allow-popups"
        opened.append(address.rpartition("/")[2])
    assert set(opened) >= {"promotion.html", "index.html", "differences.png"}


def test_only_pages_and_pictures_are_served(dagster: TestClient) -> None:
    made = f"/rft/records/{promotion().address}"
    assert "promotion" in dagster.get(f"{made}/promotion.html").text
    for address in (
        f"{made}/promotion.json",
        f"{made}/%2e%2e/%2e%2e/%2e%2e/%2e%2e/mlflow.db",
        f"{made}/none.html",
        made,
    ):
        assert dagster.get(address).status_code == 404, address


def test_a_path_and_its_query_lead_to_mlflow(dagster: TestClient) -> None:
    location = dagster.get("/rft/mlflow/get-artifact?path=a%20b.png&run_uuid=1").headers["location"]
    assert location == "http://rft.localhost:5999/get-artifact?path=a%20b.png&run_uuid=1"


def test_a_server_elsewhere_keeps_its_name(finished_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:secret@mlflow.example:8080/base")
    with instance() as running, WorkspaceProcessContext(running, EmptyWorkspaceTarget()) as context:
        client = TestClient(Webserver(context).create_asgi_app(), follow_redirects=False)
        assert client.get("/rft/mlflow/").headers["location"] == "https://mlflow.example:8080/base/"


def test_mlflow_leads_to_dagster(finished_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RFT_DAGSTER_URL", "http://127.0.0.1:3999")
    from rft_pipeline.servers.mlflow_app import app

    client = TestClient(app, "http://localhost:5999", follow_redirects=False)
    assert client.get("/rft/dagster/assets/tiny/promotion").headers["location"] == (
        "http://localhost:3999/assets/tiny/promotion"
    )
    assert client.get("/version").status_code == 200
    opened = client.get("/")
    assert opened.headers["content-type"] == "text/html; charset=utf-8"
    assert '"mlflow.workflowType_v1": "machine_learning"' in opened.text
    assert "localStorage.getItem(key) ?? localStorage.setItem(key, JSON.stringify(value))" in opened.text
