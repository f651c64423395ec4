"""Dagster and MLflow on PostgreSQL. Needs RFT_TEST_POSTGRES, e.g. postgresql://user:password@127.0.0.1:5432/postgres,

whose user may create databases, and the packages of the extra `postgres`.
"""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL, create_engine, make_url, text

from rft_pipeline.store import Home
from rft_pipeline.store.postgres import with_driver
from tests.cli.small import Rft, assert_one_message, rft_process

SERVER = os.environ.get("RFT_TEST_POSTGRES", "")

pytestmark = pytest.mark.skipif(not SERVER, reason="RFT_TEST_POSTGRES names no server")


def ask(address: URL, question: str) -> list[tuple[object, ...]]:
    engine = create_engine(address, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        answer = connection.execute(text(question))
        rows = [tuple(row) for row in answer] if answer.returns_rows else []
    engine.dispose()
    return rows


@pytest.fixture
def databases(monkeypatch: pytest.MonkeyPatch, tiny_campaign: Path) -> Iterator[dict[str, URL]]:
    """Two new databases and the variables that name them; gone afterwards."""
    server, suffix = make_url(with_driver(SERVER)), uuid.uuid4().hex[:8]
    made = {}
    for variable in ("RFT_DAGSTER_POSTGRES", "MLFLOW_TRACKING_URI"):
        name = f"{variable.lower()}_{suffix}"
        ask(server, f"create database {name}")
        made[variable] = server.set(database=name)
        plain = made[variable].set(drivername="postgresql").render_as_string(hide_password=False)
        monkeypatch.setenv(variable, plain)
    yield made
    for address in made.values():
        ask(server, f"drop database {address.database} with (force)")


def test_a_campaign_runs_and_is_found_again_with_both_on_postgres(databases: dict[str, URL]) -> None:
    first, second = rft_process("run", "tiny", "--rounds", "1"), rft_process("run", "tiny", "--rounds", "1")
    assert first.code == 0, first.err
    assert "0 of 9 stages cached, 9 made" in first.err
    assert "9 of 9 stages cached, 0 made" in second.err
    dagster, mlflow = databases.values()
    assert ask(dagster, "select pipeline_name, status from runs") == [("tiny", "SUCCESS")] * 2
    materialized = "select count(*) from event_logs where dagster_event_type = 'ASSET_MATERIALIZATION'"
    assert ask(dagster, materialized) == [(16,)]
    assert ask(mlflow, "select name from experiments order by experiment_id") == [("Default",), ("tiny",)]
    assert ask(mlflow, "select count(*) from metrics where key = 'train/loss'") == [(2,)]
    home = Home.find()
    assert not list(home.root.rglob("*.db"))
    password = (make_url(SERVER).password or "no password").encode()
    assert not [path for path in home.root.rglob("*") if path.is_file() and password in path.read_bytes()]
    kept = ask(dagster, f"select count(*) from event_logs where event like '%{password.decode()}%'")
    assert kept == [(0,)]


def test_a_database_that_is_not_there_is_one_message_without_the_password(
    rft: Rft, databases: dict[str, URL], monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = databases["RFT_DAGSTER_POSTGRES"].set(database="nowhere").render_as_string(hide_password=False)
    monkeypatch.setenv("RFT_DAGSTER_POSTGRES", gone)
    said = rft("run", "tiny")
    assert_one_message(
        said, "RFT_DAGSTER_POSTGRES: ", 'database "nowhere" does not exist', "start the server, or unset"
    )
    assert (make_url(SERVER).password or "no password") not in said.err
