"""DAGSTER_HOME: its settings, storage and workspace.

`dagster.yaml` is written once; after that it is the user's. When RFT_DAGSTER_POSTGRES is set, DAGSTER_HOME is the
folder `postgres` in it. The dagster.yaml there is written each time: the user's settings, and a storage that reads the
address from that variable.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from filelock import FileLock

from rft_pipeline.errors import ConfigError
from rft_pipeline.files import replace_text
from rft_pipeline.runs import code_location
from rft_pipeline.store import Home, postgres

if TYPE_CHECKING:
    from dagster import DagsterInstance

POSTGRES = "RFT_DAGSTER_POSTGRES"
TICK_LIMIT = "DAGSTER_SCHEDULE_GRPC_TIMEOUT_SECONDS"
TICK_SECONDS = 1800
"""The time limit of a schedule's tick: a retraining tick reads all logs and draws prompts. Dagster's default is 60."""

SETTINGS = """\
# Written by rft once; edit freely, it is not overwritten.
telemetry:
  enabled: false
nux:
  enabled: false
python_logs:
  python_log_level: INFO
  managed_python_loggers: [rft_pipeline]
concurrency:
  pools:
    default_limit: 1
run_monitoring:
  enabled: true
  free_slots_after_run_end_seconds: 30
"""
"""A pool's limit of 1 lets stages that load a model run one at a time."""


def prepare(home: Home) -> dict[str, str]:
    """Write the settings (when there are none) and the workspace; return the environment that Dagster needs.

    Raises `ConfigError` for a database that cannot be used.
    """
    home.dagster.mkdir(parents=True, exist_ok=True)
    settings = home.dagster / "dagster.yaml"
    if not settings.exists():
        replace_text(settings, SETTINGS)
    replace_text(workspace_file(home), f"# Written by rft on each start.\n{code_location.workspace(home)}")
    if home.mlflow_uri.startswith(postgres.WITH_DRIVER):
        postgres.require(home.mlflow_uri, "MLFLOW_TRACKING_URI", "psycopg2")
    return {
        **_storage(settings),
        "RFT_HOME": str(home.root),
        "RFT_DATA": str(home.data),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "TOKENIZERS_PARALLELISM": "false",
        TICK_LIMIT: os.environ.get(TICK_LIMIT, str(TICK_SECONDS)),
    }


def workspace_file(home: Home) -> Path:
    """The file that tells `dagster dev` and `dagster-daemon run` where the code location is."""
    return home.dagster / "workspace.yaml"


def _storage(settings: Path) -> dict[str, str]:
    """Where Dagster keeps runs and events: SQLite in its folder, or the database that RFT_DAGSTER_POSTGRES names."""
    url = postgres.with_driver(os.environ.get(POSTGRES, ""))
    if not url:
        return {"DAGSTER_HOME": str(settings.parent)}
    if not url.startswith(postgres.WITH_DRIVER):
        raise ConfigError(f"{POSTGRES}: must have the form {postgres.PLAIN}user:password@host:port/database")
    postgres.require(url, POSTGRES, "dagster_postgres", "psycopg2")
    folder = settings.parent / "postgres"
    folder.mkdir(exist_ok=True)
    replace_text(folder / "dagster.yaml", _with_postgres(settings))
    return {"DAGSTER_HOME": str(folder), POSTGRES: url}


def _with_postgres(settings: Path) -> str:
    """The user's settings with a storage that names the variable, so that the password is not written to the file."""
    content = yaml.safe_load(settings.read_text(encoding="utf-8")) or {}
    if own := sorted({"storage", "run_storage", "event_log_storage", "schedule_storage"} & set(content)):
        raise ConfigError(f"{settings}: sets {', '.join(own)}, and {POSTGRES} is set too; remove one of them")
    content["storage"] = {"postgres": {"postgres_url": {"env": POSTGRES}}}
    return f"# Written by rft from {settings} on each start; edit that file.\n" + yaml.safe_dump(
        content, sort_keys=False
    )


def enter(home: Home) -> "DagsterInstance":
    """Make this process and its children use this DAGSTER_HOME, and open its instance."""
    os.environ.update(prepare(home))
    import dagster as dg

    with FileLock(home.dagster / ".opening.lock"):  # the first process to open it creates tables; only one may
        return dg.DagsterInstance.get()
