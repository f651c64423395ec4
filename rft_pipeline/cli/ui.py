"""`rft ui`."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Annotated

import typer

from rft_pipeline.cli.console import out
from rft_pipeline.errors import RftError
from rft_pipeline.files import replace_text
from rft_pipeline.store import Home


def ui(
    dagster_port: Annotated[int, typer.Option(help="Port of the Dagster UI.")] = 3000,
    mlflow_port: Annotated[int, typer.Option(help="Port of the MLflow UI.")] = 5000,
) -> None:
    """Serve the Dagster UI (with its daemon) and the MLflow UI on this machine until interrupted.

    If MLFLOW_TRACKING_URI names a tracking server, no MLflow UI is started.
    """
    from rft_pipeline.pipeline.links import ADDRESSES, mlflow_url
    from rft_pipeline.runs import code_location, dagster_home

    home = Home.find()
    remote = home.mlflow_uri.startswith("http")
    addresses = {
        "RFT_DAGSTER_URL": f"http://127.0.0.1:{dagster_port}",
        "RFT_MLFLOW_URL": mlflow_url(home) if remote else f"http://127.0.0.1:{mlflow_port}",
    }
    environment = {
        **addresses,
        **os.environ,
        **dagster_home.prepare(home),
        "MLFLOW_BACKEND_STORE_URI": home.mlflow_uri,  # an argument would show its password to every local user
    }
    replace_text(home.root / ADDRESSES, json.dumps(addresses))
    workspace = str(dagster_home.workspace_file(home))
    commands = {"Dagster": ["-m", "dagster", "dev", "-w", workspace, "-h", "127.0.0.1", "-p", str(dagster_port)]}
    if not remote:
        commands["MLflow"] = [
            *("-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(mlflow_port)),
            *("--default-artifact-root", home.mlflow_artifacts, "--workers", "1"),
        ]
    _, folder = code_location.find(home)
    running = {
        name: subprocess.Popen([sys.executable, *arguments], env=environment, cwd=folder)
        for name, arguments in commands.items()
    }
    out.print(f"Dagster  {addresses['RFT_DAGSTER_URL']}")
    out.print(f"MLflow   {addresses['RFT_MLFLOW_URL']}")
    try:
        _wait_until_one_ends(running)
    except KeyboardInterrupt:
        out.print("stopping")
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.wait()


def _wait_until_one_ends(running: Mapping[str, "subprocess.Popen[bytes]"]) -> None:
    """Raise `RftError` when a server ends; both run until they are interrupted."""
    while True:
        for name, process in running.items():
            if process.poll() is not None:
                raise RftError(f"{name} ended with exit code {process.returncode}; is its port in use?")
        time.sleep(0.5)
