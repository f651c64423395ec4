"""A campaign that samples on a Ray cluster, with its store in a bucket, and Dagster and MLflow on PostgreSQL."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from sqlalchemy import URL

from rft_pipeline.store import Home, RecordStore, rollouts_table
from tests.buckets import SECRET, s3_server
from tests.cli.small import Rft, assert_one_message, ended, rft_process, started
from tests.clusters import ray_cluster
from tests.databases import PASSWORD, ask, needs_postgres, new_databases, postgres_server
from tests.runs import edit, run

pytestmark = [needs_postgres, pytest.mark.waits]

ON_RAY = {"engine": "ray", "workers": 1, "worker": {"batch_size": 4, "dtype": "float32", "device": "cpu"}}


@pytest.fixture(scope="module")
def server() -> Iterator[URL]:
    with postgres_server() as address:
        yield address


@pytest.fixture
def databases(server: URL, tiny_campaign: Path) -> Iterator[dict[str, URL]]:
    with new_databases(server) as made:
        yield made


def test_a_campaign_on_ray_a_bucket_and_postgres_that_is_killed_twice_has_the_records_of_a_plain_run(
    on_policy: Path, server: URL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(on_policy / "campaign.yaml", "rounds", 1)
    plain = run(on_policy)
    edit(on_policy / "campaign.yaml", "rollouts.runtime", ON_RAY)
    monkeypatch.setenv("RFT_HOME", str(tmp_path / "machine"))
    monkeypatch.setenv("RFT_STORE", "s3://rft/many")
    with s3_server(), new_databases(server) as databases, ray_cluster():
        home = Home.find()
        for rows in (0, 8):  # in the first generation, and after it
            kill_when_sampled(home, rows)
        last = rft_process("run", "tiny")
        assert last.code == 0, last.err
        records = {name: RecordStore(home.store).current(f"tiny/{name}") for name in plain}
        for name, record in records.items():
            assert record is not None, name
            assert record.fingerprint == plain[name].fingerprint, name
            assert record.content_hash == plain[name].content_hash, name
        assert rollouts_table(home.store).doubled().is_empty()
        assert_both_are_on_postgres(databases)
        assert not list(home.root.rglob("*.db"))
        secrets = [secret.encode() for secret in (SECRET, PASSWORD)]
        assert not [
            path
            for path in home.root.rglob("*")
            if path.is_file() and any(secret in path.read_bytes() for secret in secrets)
        ]


def assert_both_are_on_postgres(databases: dict[str, URL]) -> None:
    dagster, mlflow = databases.values()
    assert ask(dagster, "select pipeline_name, status from runs order by id") == [
        ("tiny", "FAILURE"),
        ("tiny", "FAILURE"),
        ("tiny", "SUCCESS"),
    ]
    assert ask(mlflow, "select name from experiments order by experiment_id") == [("Default",), ("tiny",)]
    steps = "select distinct step from metrics where key = 'train/loss' order by step"
    assert ask(mlflow, steps) == [(1,), (2,), (3,), (4,)]
    kept = ask(dagster, f"select count(*) from event_logs where event like '%{PASSWORD}%'")
    assert kept == [(0,)]


def kill_when_sampled(home: Home, more_than: int) -> None:
    """`rft run`, and SIGKILL for all its processes once the table has more rollouts, and more than at its start."""
    table = rollouts_table(home.store)
    before = table.rows().select(pl.len()).collect().item()
    process, began = started("run", "tiny"), time.monotonic()
    while table.rows().select(pl.len()).collect().item() <= max(before, more_than):
        assert process.poll() is None, ended(process).err
        assert time.monotonic() - began < 1800
        time.sleep(1)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def test_a_database_that_is_not_there_is_one_message_without_the_password(rft: Rft, databases: dict[str, URL]) -> None:
    gone = databases["RFT_DAGSTER_POSTGRES"].set(database="nowhere", drivername="postgresql")
    with pytest.MonkeyPatch.context() as patched:  # undone before `databases`, which would restore its own value
        patched.setenv("RFT_DAGSTER_POSTGRES", gone.render_as_string(hide_password=False))
        said = rft("run", "tiny")
    assert_one_message(
        said, "RFT_DAGSTER_POSTGRES: ", 'database "nowhere" does not exist', "start the server, or unset"
    )
    assert PASSWORD not in said.err
