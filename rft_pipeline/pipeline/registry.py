"""The MLflow model registry: one model a campaign, one version a champion, the aliases `champion` and `previous`.

MLflow numbers the versions; a version's name, such as `round-2`, is an alias as well.

The registry mirrors the file of champions, which decides. A version is found by the record in its tag, so a registry
that was lost, or lost a version, is filled again. A version points to the safetensors in the store; nothing is copied
and nothing is pickled.
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
"""Tags of a version: the checkpoint's record, and when it was promoted. A version with an older date is updated."""


@dataclass(frozen=True)
class Version:
    """The content of a version of a campaign's model."""

    name: str
    """`round-1`, or `cycle-3-round-1`; of two versions with one name, the newer one has it."""
    weights: Path
    run_id: str | None
    """The MLflow run that trained them."""
    card: str
    tags: Mapping[str, str]


@dataclass(frozen=True)
class Named:
    """The champion that an alias should name."""

    record: str
    since: str
    """When it was promoted."""
    describe: Callable[[], Version | None]
    """The content of its version; None when its record is gone. Called only for a missing or outdated version."""


def mirror(home: Home, campaign: str, aliases: Mapping[str, Named | None]) -> None:
    """Point each alias to its champion's version, which is created or updated first; delete an alias without champion.

    Raises `TrackingError` when MLflow fails.
    """
    client = home.mlflow_client()
    from mlflow.exceptions import MlflowException

    try:
        with FileLock(home.root / "mlflow.lock"):
            _mirror(client, campaign, aliases)
    except MlflowException as error:
        raise TrackingError(
            f"{campaign}: its champion is saved, but MLflow's registry at {home.mlflow_uri} could not be updated: "
            f"{error}; `rft run {campaign}` updates it once it can be reached"
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


def _version(client: "MlflowClient", campaign: str, champion: Named, found: "ModelVersion | None") -> str | None:
    """The number of a champion's version, which is created or updated if necessary."""
    if found is not None and found.tags.get(SINCE) == champion.since:
        return str(found.version)
    content = champion.describe()
    if content is None:
        return None if found is None else str(found.version)
    tags = {**content.tags, RECORD: champion.record, SINCE: champion.since}
    if found is None:
        made = client.create_model_version(
            campaign, source=content.weights.as_uri(), run_id=content.run_id, tags=tags, description=content.card
        )
        number = str(made.version)
    else:
        number = str(found.version)
        client.update_model_version(campaign, number, description=content.card)
        for name, value in tags.items():
            client.set_model_version_tag(campaign, number, name, value)
    client.set_registered_model_alias(campaign, content.name, number)
    return number
