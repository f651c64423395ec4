"""A real PostgreSQL server on this machine, for tests, where it is installed."""

import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from sqlalchemy import URL, create_engine, make_url, text
from sqlalchemy.exc import OperationalError

from rft_pipeline.store.postgres import with_driver
from tests.clusters import free_port

PASSWORD = "in-no-file-and-no-event"


def _programs() -> Path | None:
    """The folder of PostgreSQL's programs: not all of them are in the path of Debian's package."""
    found = shutil.which("initdb") or next(map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb")), None)
    return Path(found).parent if found else None


needs_postgres = pytest.mark.skipif(_programs() is None, reason="needs PostgreSQL's initdb")


@contextmanager
def postgres_server() -> Iterator[URL]:
    """The address of a new server, with the password, whose user may create databases."""
    programs = _programs()
    assert programs is not None
    with TemporaryDirectory(prefix="rft-postgres-") as root:
        how: dict[str, Any] = {"cwd": root, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            how |= {"user": "postgres", "group": "postgres"}
            shutil.chown(root, "postgres", "postgres")
        port = free_port()
        secret = Path(root, "password")
        secret.write_text(PASSWORD, encoding="utf-8")
        new = [programs / "initdb", "--pgdata=data", "--username=rft", "--auth=scram-sha-256", "--no-sync"]
        subprocess.run([*new, "--encoding=UTF8", "--locale=C", f"--pwfile={secret}"], check=True, **how)
        serve = [programs / "postgres", "-D", "data", "-k", root, "-h", "127.0.0.1", "-p", str(port), "-F"]
        with subprocess.Popen(serve, **how) as server:
            try:
                address = make_url(with_driver(f"postgresql://rft:{PASSWORD}@127.0.0.1:{port}/postgres"))
                _wait_for(address)
                yield address
            finally:
                server.send_signal(signal.SIGINT)  # ends connections too


def _wait_for(address: URL) -> None:
    began = time.monotonic()
    while True:
        try:
            ask(address, "select 1")
        except OperationalError:
            if time.monotonic() - began > 60:
                raise
            time.sleep(0.1)
        else:
            return


def ask(address: URL, question: str) -> list[tuple[object, ...]]:
    """The rows of an answer, or none."""
    engine = create_engine(address, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        answer = connection.execute(text(question))
        rows = [tuple(row) for row in answer] if answer.returns_rows else []
    engine.dispose()
    return rows


@contextmanager
def new_databases(server: URL) -> Iterator[dict[str, URL]]:
    """A new database for Dagster and one for MLflow, and the variables that name them; gone afterwards."""
    suffix = uuid.uuid4().hex[:8]
    made = {}
    with pytest.MonkeyPatch.context() as monkeypatch:
        for variable in ("RFT_DAGSTER_POSTGRES", "MLFLOW_TRACKING_URI"):
            name = f"{variable.lower()}_{suffix}"
            ask(server, f"create database {name}")
            made[variable] = server.set(database=name)
            plain = made[variable].set(drivername="postgresql").render_as_string(hide_password=False)
            monkeypatch.setenv(variable, plain)
        yield made
    for address in made.values():
        ask(server, f"drop database {address.database} with (force)")
