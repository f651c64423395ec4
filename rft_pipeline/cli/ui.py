"""`rft ui`: serve the Dagster UI (with its daemon) and the MLflow UI until interrupted."""

import os
import subprocess
import sys
import time

from rft_pipeline.cli.console import out
from rft_pipeline.errors import RftError
from rft_pipeline.pipeline.tracking import mlflow_url
from rft_pipeline.runs import code_location, dagster_home
from rft_pipeline.store import Home


def serve(home: Home, dagster_port: int, mlflow_port: int) -> None:
    """Start both servers and print their addresses. When one ends, stop the other and raise `RftError`.

    When MLFLOW_TRACKING_URI names a tracking server, its UI is used, and no MLflow server is started.
    """
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
    out.print(f"Dagster  {addresses['RFT_DAGSTER_URL']}", highlight=False)
    out.print(f"MLflow   {addresses['RFT_MLFLOW_URL']}", highlight=False)
    try:
        while not any(process.poll() is not None for process in running.values()):
            time.sleep(0.5)
        ended = [
            f"{name} ended with exit code {process.returncode}"
            for name, process in running.items()
            if process.poll() is not None
        ]
        raise RftError(f"{', '.join(ended)}; is its port in use?")
    except KeyboardInterrupt:
        out.print("stopping")
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.wait()
