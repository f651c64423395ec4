"""Dagster's own folder, set up so that stages which load a model run one at a time."""

import os
from pathlib import Path

from rft_pipeline.store import Home

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
    """Create DAGSTER_HOME when it is not there; return the environment Dagster needs."""
    home.dagster.mkdir(parents=True, exist_ok=True)
    settings = home.dagster / "dagster.yaml"
    if not settings.exists():
        settings.write_text(SETTINGS, encoding="utf-8")
    return {
        "DAGSTER_HOME": str(home.dagster),
        "RFT_HOME": str(home.root),
        "RFT_DATA": str(home.data),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "TOKENIZERS_PARALLELISM": "false",
    }


def enter(home: Home) -> None:
    """Make this process, and those it starts, use that folder."""
    os.environ.update(prepare(home))


def project_root() -> Path:
    """The folder that holds the packages `rft_pipeline` and `assets`."""
    return Path(__file__).resolve().parents[2]
