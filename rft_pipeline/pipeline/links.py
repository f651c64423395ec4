"""Addresses of pages in Dagster and MLflow.

What is kept names no host or port, so that it leads to the servers that show it: metadata in Dagster and descriptions
in MLflow hold paths, which the servers of `rft ui` serve or redirect to one another (`rft_pipeline/servers`). What is
printed holds whole addresses.
"""

import json
import os
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote, urlsplit

from rft_pipeline.store import Home

ADDRESSES = "ui.json"
"""The file in a home where `rft ui` writes its addresses, so that links of other processes lead there."""
LOCALHOST = "127.0.0.1"
DEFAULT_ADDRESSES = {"RFT_DAGSTER_URL": f"http://{LOCALHOST}:3000", "RFT_MLFLOW_URL": f"http://{LOCALHOST}:5000"}
RECORDS, REPORTS, MLFLOW = "/rft/records", "/rft/reports", "/rft/mlflow"
"""Paths on Dagster's server: files of records, the newest pages of all campaigns, and the way to MLflow."""
DAGSTER = "/rft/dagster"
"""The path on MLflow's server that leads to Dagster."""
MODE = "machine_learning"
"""MLflow's mode for training, in its addresses."""


def dagster_url() -> str:
    """The address of Dagster in links: RFT_DAGSTER_URL, or the address that `rft ui` served last."""
    return _without_login(os.environ.get("RFT_DAGSTER_URL") or served_addresses(Home.find())["RFT_DAGSTER_URL"])


def mlflow_url(home: Home) -> str:
    """The address of MLflow in links: RFT_MLFLOW_URL, a tracking server, or the address that `rft ui` served last."""
    served = home.mlflow_uri if is_remote(home) else served_addresses(home)["RFT_MLFLOW_URL"]
    return _without_login(os.environ.get("RFT_MLFLOW_URL") or served)


def is_remote(home: Home) -> bool:
    """Whether MLflow is a tracking server of its own, which `rft ui` does not start."""
    return home.mlflow_uri.startswith("http")


def served_addresses(home: Home) -> dict[str, str]:
    """The addresses that `rft ui` served last, by variable; its defaults before the first time."""
    known = home.root / ADDRESSES
    return _addresses(known, known.stat().st_mtime_ns) if known.is_file() else DEFAULT_ADDRESSES


@lru_cache(maxsize=1)
def _addresses(file: Path, modified: int) -> dict[str, str]:
    """What a file holds that was modified at a time, in ns."""
    return {**DEFAULT_ADDRESSES, **json.loads(file.read_text(encoding="utf-8"))}


def _without_login(address: str) -> str:
    """An address without user, password and query, which links must not show."""
    url = urlsplit(address)
    return url._replace(netloc=url.netloc.rpartition("@")[2], query="").geturl()


def asset_url(key: str) -> str:
    """The page of an asset."""
    return f"{dagster_url()}/{asset_path(key)}"


def asset_path(key: str) -> str:
    """The page of an asset, on Dagster's server."""
    return f"assets/{key}"


def dagster_run_url(run_id: str) -> str:
    """The page of a Dagster run."""
    return f"{dagster_url()}/{dagster_run_path(run_id)}"


def dagster_run_path(run_id: str) -> str:
    """The page of a Dagster run, on Dagster's server."""
    return f"runs/{run_id}"


def run_url(home: Home, run_id: str) -> str:
    """The page of an MLflow run; the address needs no experiment."""
    return f"{mlflow_url(home)}/#/{_run_path(run_id)}"


def run_in_dagster(run_id: str) -> str:
    """The page of an MLflow run, in Dagster's metadata."""
    return f"{MLFLOW}/#/{_run_path(run_id)}"


def _run_path(run_id: str) -> str:
    return f"runs/{run_id}?workflowType={MODE}"


def file_in_dagster(address: str, file: str) -> str:
    """A page or picture of a record, in Dagster's metadata."""
    return f"{RECORDS}/{quote(f'{address}/{file}')}"


def in_mlflow(home: Home, path: str) -> str:
    """A page of Dagster, in a description that MLflow keeps. A tracking server of its own does not lead to Dagster."""
    return f"{dagster_url() if is_remote(home) else DAGSTER}/{path}"


def artifact_page(experiment: str, run_id: str, file: str) -> str:
    """The page on which MLflow shows a file of a run, in its mode for training; in a description that MLflow keeps."""
    return f"#/experiments/{experiment}/runs/{run_id}/artifacts/{quote(file)}?workflowType={MODE}"


def review_url(home: Home, experiment: str, queue: str) -> str:
    """The page of MLflow on which somebody answers a review queue, opened at its first item without an answer."""
    page = f"experiments/{experiment}/review-queue?selectedQueueId={quote(queue)}"
    return f"{mlflow_url(home)}/#/{page}&startReview=true&workflowType=genai"
