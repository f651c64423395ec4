"""Which weights a name stands for: the embedded model, a hub id, a local folder, or a campaign's champion."""

import importlib.metadata
from pathlib import Path

from rft_pipeline.errors import ModelError
from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.models.embedded import EMBEDDED, EMBEDDED_FOLDER, fetch_embedded
from rft_pipeline.models.hub import fetch_from_hub
from rft_pipeline.models.installed import Model, alone, fetched, hash_with_base, install
from rft_pipeline.models.merging import MANIFEST, is_adapter, write_whole
from rft_pipeline.store import champions

SERVED = "served:"
"""Begins the name of a model that a server holds: there are no weights here."""


def resolve(name: str, models: Path, campaign_folder: Path) -> Model:
    """The model called `name`, fetched or converted into `models` when it is not there yet.

    `name` is `embedded`, a folder (absolute or beside campaign.yaml), a hub id `org/name[@revision]`, or
    `champion:CAMPAIGN`. Raises `ModelError` saying what was tried and what to do by hand.
    """
    if name.startswith(champions.PREFIX):
        return _champion(name, models)
    if found := installed(name, models, campaign_folder):
        return found
    if name == EMBEDDED:
        return fetch_embedded(models)
    if name.startswith((".", "/")) or name.count("/") != 1:
        raise ModelError(
            f"policy or judge model {name!r}: no such folder; allowed: embedded, a folder, org/name[@revision], "
            "champion:CAMPAIGN"
        )
    return fetch_from_hub(name, models)


def installed(name: str, models: Path, campaign_folder: Path) -> Model | None:
    """The model called `name` if it is on this machine already."""
    if found := fetched(name, models / (EMBEDDED_FOLDER if name == EMBEDDED else name.replace("/", "--"))):
        return found
    for folder in (campaign_folder / name, Path(name)):
        if name != EMBEDDED and folder.is_dir():
            return Model(name, folder, hash_with_base(folder), f"folder {name}")
    return None


def identify(name: str, models: Path, campaign_folder: Path) -> str:
    """What stands for a model in fingerprints: the hash of its weights, fetched if need be; a served one's name."""
    if name.startswith(champions.PREFIX):
        return champion_of(name, models).content_hash
    return _served(name) or resolve(name, models, campaign_folder).content_hash


def refuse_changed(name: str, hashed: str, now: str) -> None:
    """Raises `ModelError` when the model called `name` is another one than was hashed. Call right after it was loaded:
    what it says from then on is kept under the hash."""
    if now != hashed:
        raise ModelError(f"model {name} changed while it was being loaded, so it is not used; run again")


def known(name: str, models: Path, campaign_folder: Path) -> str | None:
    """The same without fetching: None for a model that is not here."""
    if served := _served(name):
        return served
    if name.startswith(champions.PREFIX):
        there = champions.named(models.parent, name)
        return there.content_hash if there else None
    found = installed(name, models, campaign_folder)
    return found.content_hash if found else None


def champion_of(name: str, models: Path) -> champions.Champion:
    """Whom `champion:CAMPAIGN` names today; `models` lies in the home. Raises `ModelError` when there is none."""
    campaign = champions.campaign_of(name)
    found = champions.named(models.parent, name)
    if found is None and "@" in name:
        raise ModelError(f"model {name}: {name.partition('@')[2]} never was the champion of {campaign}")
    if found is None and champions.history(models.parent, campaign):
        raise ModelError(
            f"model {name}: campaign {campaign} has no champion since a person went back from its last one; "
            f"`rft promote {campaign}` brings it back"
        )
    if found is None:
        raise ModelError(
            f"model {name}: campaign {campaign} has no champion yet; `rft run {campaign}` promotes a round that earns "
            f"it, `rft promote {campaign} --round N --force --why ...` one that you choose"
        )
    return found


def _champion(name: str, models: Path) -> Model:
    found = champion_of(name, models)
    return promoted(found.record, found.content_hash, models)


MERGED = "champion--"
"""Begins the folders of champions whose adapter was merged; their content hash follows."""


def promoted(record: str, content: str, models: Path) -> Model:
    """The checkpoint of a record that is or was a champion: as it lies in the store, an adapter merged into `models`
    once. `content` is the record's content hash."""
    checkpoint = models.parent / "store" / record / "checkpoint"
    if not checkpoint.is_dir():
        raise ModelError(f"{checkpoint} is gone; promote another round, or run its campaign again")
    name = source = f"champion {record}"
    if not is_adapter(checkpoint):
        return Model(name, checkpoint, content, source)
    merged = models / f"{MERGED}{content}"
    with alone(merged) as scratch:
        if not (merged / MANIFEST).is_file():
            write_whole(checkpoint, scratch / "checkpoint")
            install(name, scratch / "checkpoint", merged, source)
    return Model(name, merged, content, source)


def _served(name: str) -> str | None:
    return fingerprint({"served": name.removeprefix(SERVED)}) if name.startswith(SERVED) else None


def versions() -> dict[str, str]:
    """The installed versions of what can change a result."""
    return {name: importlib.metadata.version(name) for name in ("torch", "transformers", "trl", "peft")}
