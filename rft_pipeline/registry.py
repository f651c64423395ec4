"""The MLflow model registry: a campaign's model, a version a champion, and the aliases `champion` and `previous`.

A version points to the safetensors where they lie in the store; nothing is copied and nothing is pickled.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from rft_pipeline.champions import Champion
from rft_pipeline.store import Home

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION, PREVIOUS = "champion", "previous"


def register(
    home: Home,
    campaign: str,
    champion: Champion,
    weights: Path,
    run_id: str | None,
    card: str,
    more_tags: Mapping[str, str],
) -> str:
    """A version of the campaign's model for these weights, found again when they were registered before; its number."""
    client = _client(home)
    with _alone(home):
        if not client.search_registered_models(filter_string=f"name = '{campaign}'"):
            client.create_registered_model(campaign, description=f"Champions of the campaign {campaign}.")
        for version in client.search_model_versions(f"name = '{campaign}'"):
            if version.tags.get("rft.record") == champion.record:
                client.update_model_version(campaign, version.version, description=card)
                return str(version.version)
        tags = {"rft.record": champion.record, "rft.content_hash": champion.content_hash}
        tags |= {"rft.round": str(champion.round), "rft.forced": str(champion.forced).lower(), **more_tags}
        made = client.create_model_version(
            campaign, source=weights.as_uri(), run_id=run_id, tags=tags, description=card
        )
        return str(made.version)


def point(home: Home, campaign: str, champion: str | None, previous: str | None) -> None:
    """Let the aliases name these versions; one that names nothing is taken away."""
    client, wanted = _client(home), {CHAMPION: champion, PREVIOUS: previous}
    there = set(_aliases(client, campaign))
    for alias, version in wanted.items():
        if version is not None:
            client.set_registered_model_alias(campaign, alias, version)
        elif alias in there:
            client.delete_registered_model_alias(campaign, alias)


def _aliases(client: "MlflowClient", campaign: str) -> Mapping[str, str]:
    found = client.search_registered_models(filter_string=f"name = '{campaign}'")
    return dict(found[0].aliases) if found else {}


def _client(home: Home) -> "MlflowClient":
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=home.mlflow_uri)


def _alone(home: Home) -> FileLock:
    return FileLock(home.root / "mlflow.lock")
