"""The MLflow model registry: a campaign's model, a version a champion, and the aliases `champion` and `previous`.

The registry mirrors the file of champions, which decides. A version is found by the record that its tag names, so a
registry that was lost, or lost a version, is filled again. It points to the safetensors where they lie in the store;
nothing is copied and nothing is pickled.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from rft_pipeline.errors import TrackingError
from rft_pipeline.store import Home

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHAMPION, PREVIOUS = "champion", "previous"
RECORD, SINCE = "rft.record", "rft.since"
"""Tags of a version: the checkpoint's record; and when it was promoted, by which one that is up to date is known."""


@dataclass(frozen=True)
class Version:
    """What a version of a campaign's model says."""

    weights: Path
    run_id: str | None
    """Of the MLflow run that trained them."""
    card: str
    tags: Mapping[str, str]


@dataclass(frozen=True)
class Named:
    """The champion that an alias is to name."""

    record: str
    since: str
    """When it was promoted."""
    describe: Callable[[], Version | None]
    """What its version is to say; None where its record is gone. Called when the registry does not say it yet."""


def mirror(home: Home, campaign: str, aliases: Mapping[str, Named | None]) -> None:
    """Let each alias name its champion's version, registered or described anew where need be; one that names nobody
    is taken away.

    Raises `TrackingError` when MLflow cannot be told.
    """
    client = home.mlflow_client()
    from mlflow.exceptions import MlflowException

    try:
        with FileLock(home.root / "mlflow.lock"):
            _mirror(client, campaign, aliases)
    except MlflowException as error:
        raise TrackingError(
            f"{campaign}: its champion is written down, but MLflow's registry at {home.mlflow_uri} could not be told: "
            f"{error}; `rft run {campaign}` tells it when it can be reached again"
        ) from error


def _mirror(client: "MlflowClient", campaign: str, aliases: Mapping[str, Named | None]) -> None:
    found = client.search_registered_models(filter_string=f"name = '{campaign}'")
    if not found:
        if not any(aliases.values()):
            return
        client.create_registered_model(campaign, description=f"Champions of the campaign {campaign}.")
    named = {alias: str(version) for alias, version in found[0].aliases.items()} if found else {}
    versions = {each.tags.get(RECORD): each for each in client.search_model_versions(f"name = '{campaign}'")}
    for alias, champion in aliases.items():
        version = None if champion is None else _version(client, campaign, champion, versions.get(champion.record))
        if version is None and alias in named:
            client.delete_registered_model_alias(campaign, alias)
        elif version is not None and named.get(alias) != version:
            client.set_registered_model_alias(campaign, alias, version)


def _version(client: "MlflowClient", campaign: str, champion: Named, there: "ModelVersion | None") -> str | None:
    """The number of a champion's version."""
    if there is not None and there.tags.get(SINCE) == champion.since:
        return str(there.version)
    says = champion.describe()
    if says is None:
        return None if there is None else str(there.version)
    tags = {**says.tags, RECORD: champion.record, SINCE: champion.since}
    if there is None:
        made = client.create_model_version(
            campaign, source=says.weights.as_uri(), run_id=says.run_id, tags=tags, description=says.card
        )
        return str(made.version)
    client.update_model_version(campaign, there.version, description=says.card)
    for name, value in tags.items():
        client.set_model_version_tag(campaign, there.version, name, value)
    return str(there.version)
