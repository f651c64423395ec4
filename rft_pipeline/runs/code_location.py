"""The Dagster code location: `assets` in a checkout, `rft_pipeline.dagster_assets` in an installed wheel."""

from pathlib import Path

import yaml

from rft_pipeline.store import Home
from rft_pipeline.store.home import checkout

LOCATION = "rft_pipeline"
"""The name of the code location."""
REPOSITORY = {".dagster/repository": f"__repository__@{LOCATION}"}
"""The tag with which the Dagster UI finds the runs of a code location; without it they are missing in the overview."""


def find(home: Home) -> tuple[str, Path]:
    """The module of the definitions, and the folder in which processes load it."""
    folder = checkout()
    if folder is not None:
        return "assets.definitions", folder
    return "rft_pipeline.dagster_assets.definitions", home.data.parent


def workspace(home: Home) -> str:
    """The content of a workspace file with this code location."""
    module, folder = find(home)
    target = {"module_name": module, "working_directory": str(folder), "location_name": LOCATION}
    return yaml.safe_dump({"load_from": [{"python_module": target}]}, sort_keys=False)
