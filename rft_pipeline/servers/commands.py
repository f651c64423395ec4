"""The processes of `rft ui`: what each is called and the arguments that Python starts it with."""

from pathlib import Path

from rft_pipeline.pipeline.links import LOCALHOST, is_remote
from rft_pipeline.runs import code_location
from rft_pipeline.store import Home

CODE_SERVER = "Dagster code server"
"""The server that loads the campaigns in a child, so that it can load them again."""


def commands(home: Home, scratch: Path, dagster_port: int, mlflow_port: int) -> dict[str, list[str]]:
    """The arguments by name; MLflow only unless a tracking server of its own is in use.

    `scratch` is an empty folder with a short path, since that of a socket has at most 107 bytes.
    """
    socket, workspace = scratch / "code", scratch / "workspace.yaml"
    workspace.write_text(code_location.served_workspace(socket), encoding="utf-8")
    module, folder = code_location.find(home)
    found = {
        CODE_SERVER: [
            *("-m", "dagster", "code-server", "start", "--socket", str(socket), "--log-level", "warning"),
            *("--location-name", code_location.LOCATION, "--module-name", module, "--working-directory", str(folder)),
            "--inject-env-vars-from-instance",
        ],
        "Dagster": ["-m", "rft_pipeline.servers.webserver", str(workspace), *_at(dagster_port)],
        "Dagster daemon": ["-m", "dagster._daemon", "run", "--workspace", str(workspace)],
    }
    if not is_remote(home):
        found["MLflow"] = [
            *("-m", "mlflow", "server", "--app-name", "rft", *_at(mlflow_port), "--workers", "1"),
            *("--default-artifact-root", home.mlflow_artifacts, "--uvicorn-opts", "--log-level warning"),
        ]
    return found


def _at(port: int) -> list[str]:
    return ["--host", LOCALHOST, "--port", str(port)]
