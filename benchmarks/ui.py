"""Memory: how much do the servers of `rft ui` take together?

`rft ui` is started on free ports, in an empty home, with the campaigns of the repository. Once Dagster has loaded them
and MLflow answers, and both have answered what their first pages ask, the memory of every process is read from
`/proc/*/smaps_rollup`: its proportional set size (PSS), in which a page that n processes share counts 1/n for each.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import httpx2
import typer
from rich.table import Table

from benchmarks.common import Goal, conclude, run
from rft_pipeline.cli import console
from rft_pipeline.errors import RftError

GOAL = 1200
"""MB of all processes together."""
LOADED = "{ workspaceOrError { ... on Workspace { locationEntries { locationOrLoadError { __typename } } } } }"
ASSETS = "{ assetNodes { id description groupName opNames kinds } }"


def ui(
    patience: Annotated[int, typer.Option(min=1, help="Seconds that the servers have to answer.")] = 300,
    settle: Annotated[int, typer.Option(min=0, help="Seconds from their answers to the measurement.")] = 20,
) -> None:
    """Memory of `rft ui` with all processes that it starts."""
    ports = free_port(), free_port()
    dagster, mlflow = (f"http://127.0.0.1:{port}" for port in ports)
    with tempfile.TemporaryDirectory() as home:
        arguments = ["-m", "rft_pipeline.cli", "ui", "--dagster-port", str(ports[0]), "--mlflow-port", str(ports[1])]
        environment = {**os.environ, "RFT_HOME": home}
        servers = subprocess.Popen([sys.executable, *arguments], env=environment, stdout=subprocess.DEVNULL)
        try:
            wait(lambda: "RepositoryLocation" in asked(dagster, LOADED), servers, patience)
            wait(lambda: httpx2.get(f"{mlflow}/version").status_code == 200, servers, patience)
            asked(dagster, ASSETS)
            httpx2.post(f"{mlflow}/ajax-api/2.0/mlflow/experiments/search", json={"max_results": 10})
            time.sleep(settle)
            found = {of: memory(of) for of in processes(servers.pid)}
            names = {of: name(of) for of in found}
        finally:
            servers.send_signal(signal.SIGTERM)
            servers.wait()
    table = Table("process", title="Memory of `rft ui`")
    table.add_column("PSS, MB", justify="right")
    for of, megabytes in found.items():
        table.add_row(names[of], f"{megabytes:.0f}")
    console.out.print(table)
    total = sum(found.values())
    conclude([Goal("all processes together, MB", f"{total:.0f}", f"≤ {GOAL}", total <= GOAL)])


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def asked(dagster: str, query: str) -> str:
    """What Dagster answers to a GraphQL query."""
    return httpx2.post(f"{dagster}/graphql", json={"query": query}, timeout=60).text


def wait(answers: Callable[[], bool], servers: "subprocess.Popen[bytes]", patience: int) -> None:
    """Wait until a server answers. Raises `RftError` if `rft ui` ended, or after `patience` seconds."""
    end = time.monotonic() + patience
    while True:
        with suppress(httpx2.TransportError):
            if answers():
                return
        if servers.poll() is not None or time.monotonic() > end:
            raise RftError("the servers of rft ui do not answer; what they print is in logs/ of their home")
        time.sleep(1)


def processes(root: int) -> Iterator[int]:
    """A process, and all that it started."""
    yield root
    for task in Path(f"/proc/{root}/task").iterdir():
        for child in (task / "children").read_text(encoding="ascii").split():
            yield from processes(int(child))


def memory(process: int) -> float:
    """Its proportional set size in MB."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024 / 1e6


def name(process: int) -> str:
    """The module that Python runs in it, with its first argument."""
    words = Path(f"/proc/{process}/cmdline").read_text(encoding="utf-8").split("\0")
    place = words.index("-m") + 1 if "-m" in words else 0
    return " ".join(each for each in words[place : place + 2] if not each.startswith(("-", "/")))


if __name__ == "__main__":
    run(ui)
