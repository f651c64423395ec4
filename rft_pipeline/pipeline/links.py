"""Addresses of pages in Dagster and MLflow."""

import json
import os
from functools import lru_cache
from urllib.parse import quote, urlsplit

from rft_pipeline.store import Home

ADDRESSES = "ui.json"
"""The file in a home where `rft ui` writes its addresses, so that links of other processes lead there."""
DEFAULT_ADDRESSES = {"RFT_DAGSTER_URL": "http://127.0.0.1:3000", "RFT_MLFLOW_URL": "http://127.0.0.1:5000"}


def dagster_url() -> str:
    """The address of Dagster in links: RFT_DAGSTER_URL, or the address that `rft ui` served last."""
    return _without_login(os.environ.get("RFT_DAGSTER_URL") or served_addresses(Home.find())["RFT_DAGSTER_URL"])


def mlflow_url(home: Home) -> str:
    """The address of MLflow in links: RFT_MLFLOW_URL, a tracking server, or the address that `rft ui` served last."""
    served = home.mlflow_uri if home.mlflow_uri.startswith("http") else served_addresses(home)["RFT_MLFLOW_URL"]
    return _without_login(os.environ.get("RFT_MLFLOW_URL") or served)


def served_addresses(home: Home) -> dict[str, str]:
    """The addresses that `rft ui` served last, by variable; its defaults before the first time."""
    known = home.root / ADDRESSES
    found = json.loads(known.read_text(encoding="utf-8")) if known.is_file() else {}
    return {**DEFAULT_ADDRESSES, **found}


def _without_login(address: str) -> str:
    """An address without user, password and query, which links must not show."""
    url = urlsplit(address)
    return url._replace(netloc=url.netloc.rpartition("@")[2], query="").geturl()


def asset_url(key: str) -> str:
    """The page of an asset."""
    return f"{dagster_url()}/assets/{key}"


def dagster_run_url(run_id: str) -> str:
    """The page of a Dagster run."""
    return f"{dagster_url()}/runs/{run_id}"


def run_url(home: Home, run_id: str) -> str:
    """The page of an MLflow run; the address needs no experiment."""
    return f"{mlflow_url(home)}/#/runs/{run_id}"


def artifact_page(home: Home, run_id: str, file: str) -> str:
    """The page on which MLflow shows a file of a run, in its mode for training."""
    page = f"experiments/{_experiment(home, run_id)}/runs/{run_id}/artifacts/{quote(file)}"
    return f"{mlflow_url(home)}/#/{page}?workflowType=machine_learning"


@lru_cache
def _experiment(home: Home, run_id: str) -> str:
    """The id of a run's experiment, which never changes."""
    return str(home.mlflow_client().get_run(run_id).info.experiment_id)


def artifact_url(home: Home, run_id: str, file: str) -> str:
    """The content of a file that an MLflow run keeps, e.g. of a picture."""
    return f"{mlflow_url(home)}/get-artifact?path={quote(file)}&run_uuid={run_id}"


def review_url(home: Home, experiment: str, queue: str) -> str:
    """The page of MLflow on which somebody answers a review queue, opened at its first item without an answer."""
    page = f"experiments/{experiment}/review-queue?selectedQueueId={quote(queue)}"
    return f"{mlflow_url(home)}/#/{page}&startReview=true&workflowType=genai"
