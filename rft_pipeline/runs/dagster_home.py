"""Dagster's own folder, set up so that stages which load a model run one at a time.

`dagster.yaml` in it is the user's. With RFT_DAGSTER_POSTGRES set, Dagster is pointed to the folder `postgres` below it,
whose dagster.yaml is made anew each time: the user's, and a storage that reads the address from that variable.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from filelock import FileLock

from rft_pipeline.errors import ConfigError
from rft_pipeline.store import Home, postgres

if TYPE_CHECKING:
    from dagster import DagsterInstance

POSTGRES = "RFT_DAGSTER_POSTGRES"
TICK_LIMIT = "DAGSTER_SCHEDULE_GRPC_TIMEOUT_SECONDS"
TICK_SECONDS = 1800
"""How long a schedule's tick may take: one that retrains reads all logs and draws. Dagster's own limit is 60."""

SETTINGS = """\
# Written by rft; edit freely, it is not overwritten.
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


def prepare(home: Home) -> dict[str, str]:
    """Create DAGSTER_HOME when it is not there; return the environment Dagster needs. Raises `ConfigError`."""
    home.dagster.mkdir(parents=True, exist_ok=True)
    settings = home.dagster / "dagster.yaml"
    if not settings.exists():
        _write(settings, SETTINGS)
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


def _storage(settings: Path) -> dict[str, str]:
    """Where Dagster keeps runs and events: SQLite in its folder, or the database RFT_DAGSTER_POSTGRES names."""
    url = postgres.with_driver(os.environ.get(POSTGRES, ""))
    if not url:
        return {"DAGSTER_HOME": str(settings.parent)}
    if not url.startswith(postgres.WITH_DRIVER):
        raise ConfigError(f"{POSTGRES}: must read {postgres.PLAIN}user:password@host:port/database")
    postgres.require(url, POSTGRES, "dagster_postgres", "psycopg2")
    folder = settings.parent / "postgres"
    folder.mkdir(exist_ok=True)
    _write(folder / "dagster.yaml", _with_postgres(settings))
    return {"DAGSTER_HOME": str(folder), POSTGRES: url}


def _with_postgres(settings: Path) -> str:
    """The user's settings with the storage of the variable, which is named and not written."""
    content = yaml.safe_load(settings.read_text(encoding="utf-8")) or {}
    if own := sorted({"storage", "run_storage", "event_log_storage", "schedule_storage"} & set(content)):
        raise ConfigError(f"{settings}: has {', '.join(own)} already; remove it, or unset {POSTGRES}")
    content["storage"] = {"postgres": {"postgres_url": {"env": POSTGRES}}}
    return f"# Made by rft from {settings}; edit that one.\n" + yaml.safe_dump(content, sort_keys=False)


def _write(path: Path, text: str) -> None:
    """All or nothing: another `rft` may be reading it."""
    beside = path.with_name(f".{path.name}-{os.getpid()}")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


def enter(home: Home) -> "DagsterInstance":
    """Make this process, and those it starts, use that folder; open it."""
    os.environ.update(prepare(home))
    import dagster as dg

    with FileLock(home.dagster / ".opening.lock"):  # the first to open it creates tables, and only one may
        return dg.DagsterInstance.get()


def project_root() -> Path:
    """The folder that holds the packages `rft_pipeline` and `assets`."""
    return Path(__file__).resolve().parents[2]
