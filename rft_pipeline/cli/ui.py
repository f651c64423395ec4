"""`rft ui`: the Dagster UI (with its daemon) and the MLflow UI, until interrupted."""

import os
import subprocess
import sys
import time

from rft_pipeline.cli.console import out
from rft_pipeline.errors import RftError
from rft_pipeline.pipeline.tracking import mlflow_url
from rft_pipeline.runs import dagster_home
from rft_pipeline.store import Home


def serve(home: Home, dagster_port: int, mlflow_port: int) -> None:
    """Start both servers, print their addresses, and stop both when one ends. Raises `RftError` when one fails.

    With MLFLOW_TRACKING_URI naming a tracking server, that one is MLflow's UI and none is started.
    """
    remote = home.mlflow_uri.startswith("http")
    addresses = {
        "RFT_DAGSTER_URL": f"http://127.0.0.1:{dagster_port}",
        "RFT_MLFLOW_URL": mlflow_url(home) if remote else f"http://127.0.0.1:{mlflow_port}",
    }
    root = dagster_home.project_root()
    environment = {
        **addresses,
        **os.environ,
        **dagster_home.prepare(home),
        "MLFLOW_BACKEND_STORE_URI": home.mlflow_uri,  # not as an argument, where everyone could read its password
    }
    commands = {
        "Dagster": [
            "-m",
            "dagster",
            "dev",
            "-w",
            str(root / "workspace.yaml"),
            "-h",
            "127.0.0.1",
            "-p",
            str(dagster_port),
        ],
    }
    if not remote:
        commands["MLflow"] = [
            *("-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(mlflow_port)),
            *("--default-artifact-root", home.mlflow_artifacts, "--workers", "1"),
        ]
    running = {
        name: subprocess.Popen([sys.executable, *arguments], env=environment, cwd=root)
        for name, arguments in commands.items()
    }
    out.print(f"Dagster  {addresses['RFT_DAGSTER_URL']}", highlight=False)
    out.print(f"MLflow   {addresses['RFT_MLFLOW_URL']}", highlight=False)
    try:
        while not any(process.poll() is not None for process in running.values()):
            time.sleep(0.5)
        ended = [
            f"{name} ended with {process.poll()}" for name, process in running.items() if process.poll() is not None
        ]
        raise RftError(f"{', '.join(ended)}; is its port taken?")
    except KeyboardInterrupt:
        out.print("stopping")
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.wait()
