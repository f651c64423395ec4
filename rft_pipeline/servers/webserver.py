"""Dagster's webserver with the pages of records, and the way to MLflow.

python -m rft_pipeline.servers.webserver WORKSPACE --host HOST --port PORT
"""

from pathlib import Path
from typing import Annotated, Any

import typer
import uvicorn
from dagster import DagsterInstance
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster_webserver.cli import DEFAULT_DB_STATEMENT_TIMEOUT, DEFAULT_POOL_MAX_OVERFLOW, DEFAULT_POOL_RECYCLE
from dagster_webserver.version import __version__
from dagster_webserver.webserver import DagsterWebserver
from starlette.routing import BaseRoute

from rft_pipeline.pipeline.links import LOCALHOST, MLFLOW, mlflow_url
from rft_pipeline.servers.routes import pages, redirect
from rft_pipeline.store import Home

POLL = 2000
"""Milliseconds between two looks of an open page at what changed."""


class Webserver(DagsterWebserver[WorkspaceProcessContext, Any]):
    """Dagster's webserver; its own last route takes every address, so ours come first."""

    def build_routes(self) -> list[BaseRoute]:
        home = Home.find()
        own = [*pages(home), redirect(MLFLOW, mlflow_url(home))]
        return [*own, *super().build_routes()]  # type: ignore[no-untyped-call]


def serve(
    workspace: Annotated[Path, typer.Argument(help="The workspace file.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = LOCALHOST,
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 3000,
) -> None:
    """Serve until stopped. DAGSTER_HOME names the instance."""
    with DagsterInstance.get() as instance:
        instance.optimize_for_webserver(DEFAULT_DB_STATEMENT_TIMEOUT, DEFAULT_POOL_RECYCLE, DEFAULT_POOL_MAX_OVERFLOW)
        target = WorkspaceFileTarget([str(workspace)])
        with WorkspaceProcessContext(instance, version=__version__, workspace_load_target=target) as context:
            app = Webserver(context, live_data_poll_rate=POLL).create_asgi_app()
            uvicorn.run(app, host=host, port=port, log_level="warning")


if __name__ == "__main__":
    typer.run(serve)
