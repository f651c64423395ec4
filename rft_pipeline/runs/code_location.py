"""The Dagster code location: `assets` in a checkout, `rft_pipeline.dagster_assets` in an installed wheel."""

from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from rft_pipeline.store import Home
from rft_pipeline.store.home import checkout

if TYPE_CHECKING:
    from dagster._core.remote_origin import RemoteJobOrigin

LOCATION = "rft_pipeline"
"""The name of the code location."""


def find(home: Home) -> tuple[str, Path]:
    """The module of the definitions, and the folder in which processes load it."""
    folder = checkout()
    if folder is not None:
        return "assets.definitions", folder
    return "rft_pipeline.dagster_assets.definitions", home.data.parent


def origin(job: str) -> "RemoteJobOrigin":
    """Where the Dagster UI finds a job. A run without it is missing in the UI's overview."""
    from dagster._core.definitions.repository_definition import SINGLETON_REPOSITORY_NAME
    from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteRepositoryOrigin

    location = RegisteredCodeLocationOrigin(LOCATION)
    return RemoteRepositoryOrigin(location, SINGLETON_REPOSITORY_NAME).get_job_origin(job)


def workspace(home: Home) -> str:
    """The content of a workspace file with this code location."""
    module, folder = find(home)
    return _workspace(python_module={"module_name": module, "working_directory": str(folder)})


def served_workspace(socket: Path) -> str:
    """The content of a workspace file with this code location, which a code server serves at a socket."""
    return _workspace(grpc_server={"socket": str(socket)})


def _workspace(**location: dict[str, str]) -> str:
    named = {kind: {**target, "location_name": LOCATION} for kind, target in location.items()}
    return yaml.safe_dump({"load_from": [named]}, sort_keys=False)
