"""`rft ui`."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from rft_pipeline.cli.console import out
from rft_pipeline.errors import RftError
from rft_pipeline.files import replace_text
from rft_pipeline.store import Home

SOON = 30.0
"""Seconds after its start in which a server that ends is not started again."""
PATIENCE = 10.0
"""Seconds that a server has to end by itself."""
LOGS = "logs"
"""The folder in a home with what the servers print."""
LAST_LINES = 8
"""Lines of a log in the error of a server that could not start."""


def ui(
    dagster_port: Annotated[int, typer.Option(help="Port of the Dagster UI.")] = 3000,
    mlflow_port: Annotated[int, typer.Option(help="Port of the MLflow UI.")] = 5000,
) -> None:
    """Serve the Dagster UI (with its daemon) and the MLflow UI on this machine until interrupted.

    What they print is written to `logs/` in the home. If MLFLOW_TRACKING_URI names a tracking server, no MLflow UI is
    started.
    """
    from rft_pipeline.pipeline.links import ADDRESSES, mlflow_url
    from rft_pipeline.runs import code_location, dagster_home

    home = Home.find()
    remote = home.mlflow_uri.startswith("http")
    addresses = {
        "RFT_DAGSTER_URL": f"http://127.0.0.1:{dagster_port}",
        "RFT_MLFLOW_URL": mlflow_url(home) if remote else f"http://127.0.0.1:{mlflow_port}",
    }
    addresses |= {name: os.environ[name] for name in addresses if name in os.environ}
    environment = {
        **os.environ,
        **addresses,
        **dagster_home.prepare(home),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # its runners take memory and have nothing to do here
        "MLFLOW_BACKEND_STORE_URI": home.mlflow_uri,  # an argument would show its password to every local user
    }
    replace_text(home.root / ADDRESSES, json.dumps(addresses))
    workspace = str(dagster_home.workspace_file(home))
    commands = {"Dagster": ["-m", "dagster", "dev", "-w", workspace, "-h", "127.0.0.1", "-p", str(dagster_port)]}
    if not remote:
        commands["MLflow"] = [
            *("-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(mlflow_port)),
            *("--default-artifact-root", home.mlflow_artifacts, "--workers", "1"),
            *("--uvicorn-opts", "--log-level warning"),
        ]
    _, folder = code_location.find(home)
    logs = home.root / LOGS
    logs.mkdir(parents=True, exist_ok=True)
    out.print(f"Dagster  {addresses['RFT_DAGSTER_URL']}")
    out.print(f"MLflow   {addresses['RFT_MLFLOW_URL']}")
    out.print(f"[dim]what they print: {escape(str(logs))}; Ctrl-C stops them[/]", soft_wrap=True)
    for ends in (signal.SIGTERM, signal.SIGHUP):  # a service that stops, a terminal that closes
        signal.signal(ends, signal.default_int_handler)
    servers: list[Server] = []
    try:
        for name, arguments in commands.items():
            servers.append(Server(name, arguments, environment, folder, logs / f"{name.lower()}.log"))
        while True:
            for server in servers:
                server.keep_running()
            time.sleep(0.5)
    except KeyboardInterrupt:
        out.print("stopping")
    finally:
        for again in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # a second one must not leave a server behind
            signal.signal(again, signal.SIG_IGN)
        stop(servers)


def stop(servers: Sequence["Server"]) -> None:
    """End the servers, all at once, and all that they started."""
    for server in servers:
        server.end(signal.SIGTERM)
    for server in servers:
        server.wait()


class Server:
    """A process that serves a page, and all that it started. What they print replaces the file `log`."""

    def __init__(
        self, name: str, arguments: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path
    ) -> None:
        self.name = name
        self.log = log
        self._command, self._environment, self._folder = [sys.executable, *arguments], dict(environment), folder
        log.write_bytes(b"")
        self._process, self._since = self._start(), time.monotonic()

    def _start(self) -> "subprocess.Popen[bytes]":
        with self.log.open("ab") as log:
            return subprocess.Popen(
                self._command,
                env=self._environment,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def keep_running(self) -> None:
        """Start the process again if it ended. Raises `RftError` if it ended soon after its start."""
        code = self._process.poll()
        if code is None:
            return
        if time.monotonic() - self._since < SOON:
            raise RftError(f"{self.name} ended with exit code {code}; is its port in use? {self._last_words()}")
        out.print(f"{self.name} ended with exit code {code}; started again")
        self.end(signal.SIGKILL)
        self._process, self._since = self._start(), time.monotonic()

    def _last_words(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join([f"The end of {self.log}:", *lines[-LAST_LINES:]])

    def wait(self) -> None:
        """Wait until the process has ended; kill it, and all that it started, after `PATIENCE`."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(PATIENCE)
        self.end(signal.SIGKILL)
        self._process.wait()

    def end(self, how: signal.Signals) -> None:
        """Send a signal to the process and all that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, how)
