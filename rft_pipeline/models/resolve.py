"""Resolves the name of a model: the embedded model, a hub id, a folder, a campaign's champion, or a checkpoint."""

import importlib.metadata
from pathlib import Path
from typing import TYPE_CHECKING

from rft_pipeline.errors import ModelError
from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.models.embedded import EMBEDDED, EMBEDDED_FOLDER, fetch_embedded
from rft_pipeline.models.hub import fetch_from_hub
from rft_pipeline.models.installed import Model, alone, fetched, hash_with_base, install, refuse_other_files
from rft_pipeline.models.merging import MANIFEST, is_adapter, write_whole

if TYPE_CHECKING:
    from rft_pipeline.store import Record
    from rft_pipeline.store.champions import Champion

CHECKPOINT = "checkpoint:"
"""Prefix of the name of a checkpoint, followed by the address of its record."""
SERVED = "served:"
"""Prefix of the name of a served model, which has no local weights."""


def resolve(name: str, models: Path, campaign_folder: Path) -> Model:
    """The model called `name`, fetched into `models` if needed.

    `name` is `embedded`, a folder (absolute, or below the campaign's folder), a hub id `org/name[@revision]`,
    `champion:CAMPAIGN` or `checkpoint:RECORD`. Raises `ModelError` with what was tried and what to do.
    """
    if (found_in_store := trained(name, models)) is not None:
        return promoted(*found_in_store, models)
    if found := installed(name, models, campaign_folder):
        return found
    if name == EMBEDDED:
        return fetch_embedded(models)
    if why := no_model(name):
        raise ModelError(f"policy or judge model {why}")
    return fetch_from_hub(name, models)


def no_model(name: str) -> str | None:
    """Why a name that is no folder cannot be that of a model; None if it may be one of the hub."""
    from rft_pipeline.store.champions import PREFIX
    from rft_pipeline.strict import did_you_mean

    if name == EMBEDDED or name.startswith((PREFIX, CHECKPOINT, SERVED)):
        return None
    if name.count("/") == 1 and not name.startswith((".", "/")):
        return None
    kinds = [each.removesuffix(":") for each in (PREFIX, SERVED)] if ":" in name else [EMBEDDED]
    near = did_you_mean(name.partition(":")[0], kinds)
    return (
        f"{name!r}: no such folder{near}; allowed: {EMBEDDED}, a folder, a hub id ORG/NAME or ORG/NAME@REVISION, "
        f"{PREFIX}CAMPAIGN, {SERVED}NAME with a `server`"
    )


def folder_of(name: str, models: Path, campaign_folder: Path) -> Path | None:
    """The folder with the files of the model called `name`, if it is on this machine."""
    try:
        found = trained(name, models)
    except ModelError:
        return None
    if found is not None:
        record, content = found
        checkpoint = models.parent / "store" / record / "checkpoint"
        places = [models / f"{MERGED}{content}" if is_adapter(checkpoint) else checkpoint]
    elif name == EMBEDDED:
        places = [models / EMBEDDED_FOLDER]
    else:
        places = [campaign_folder / name, Path(name), models / name.replace("/", "--")]
    return next((place for place in places if place.is_dir()), None)


def installed(name: str, models: Path, campaign_folder: Path) -> Model | None:
    """The model called `name` if it is on this machine."""
    if found := fetched(name, models / (EMBEDDED_FOLDER if name == EMBEDDED else name.replace("/", "--"))):
        return found
    for folder in (campaign_folder / name, Path(name)):
        if name != EMBEDDED and folder.is_dir():
            return Model(name, folder, hash_with_base(folder), f"folder {name}")
    return None


def identify(name: str, models: Path, campaign_folder: Path) -> str:
    """The identity of a model: the hash of its weights, fetched if needed; for a served model, of its name."""
    if (found := trained(name, models)) is not None:
        return found[1]
    return _served(name) or resolve(name, models, campaign_folder).content_hash


def refuse_changed(name: str, hashed: str, now: str) -> None:
    """Raise `ModelError` if the model changed between hashing and loading. Call right after loading: its results are
    stored under the hash."""
    if now != hashed:
        raise ModelError(f"model {name} changed while it was being loaded, so it is not used; run again")


def known(name: str, models: Path, campaign_folder: Path) -> str | None:
    """The identity of a model without fetching it; None for a model that is not on this machine."""
    if served := _served(name):
        return served
    from rft_pipeline.store import champions

    if name.startswith(champions.PREFIX):
        champion = champions.named(models.parent, name)
        return champion.content_hash if champion else None
    if name.startswith(CHECKPOINT):
        record = _checkpoint(name, models)
        return record.content_hash if record else None
    found = installed(name, models, campaign_folder)
    return found.content_hash if found else None


def champion_of(name: str, models: Path) -> "Champion":
    """The champion that `champion:CAMPAIGN` names; `models` is in the home. Raises `ModelError` if there is none."""
    from rft_pipeline.store import champions

    campaign = champions.campaign_of(name)
    found = champions.named(models.parent, name)
    if found is None and "@" in name:
        raise ModelError(f"model {name}: {name.partition('@')[2]} was never the champion of {campaign}")
    if found is None and champions.history(models.parent, campaign):
        raise ModelError(
            f"model {name}: campaign {campaign} has no champion, because its last one was rolled back; "
            f"`rft promote {campaign}` restores it"
        )
    if found is None:
        raise ModelError(
            f"model {name}: campaign {campaign} has no champion yet; `rft run {campaign}` promotes a round that "
            f"passes, `rft promote {campaign} --round N --force --why ...` one of your choice"
        )
    return found


def trained(name: str, models: Path) -> tuple[str, str] | None:
    """The address and the content hash of the checkpoint that `champion:…` or `checkpoint:…` names; None for any other
    model. Raises `ModelError` if there is no such checkpoint."""
    from rft_pipeline.store import champions

    if name.startswith(champions.PREFIX):
        champion = champion_of(name, models)
        return champion.record, champion.content_hash
    if not name.startswith(CHECKPOINT):
        return None
    record = _checkpoint(name, models)
    if record is None:
        raise ModelError(f"model {name}: the store has no such record; run its campaign again, or name another model")
    return record.address, record.content_hash


def _checkpoint(name: str, models: Path) -> "Record | None":
    from rft_pipeline.store import RecordStore

    return RecordStore(models.parent / "store").at(name.removeprefix(CHECKPOINT))


MERGED = "champion--"
"""Prefix of the folders of champions with a merged adapter, followed by the content hash."""


def promoted(record: str, content: str, models: Path) -> Model:
    """The checkpoint of a current or earlier champion: in the store, or for an adapter merged once into `models`.
    `content` is the record's content hash."""
    checkpoint = models.parent / "store" / record / "checkpoint"
    if not checkpoint.is_dir():
        raise ModelError(f"{checkpoint} does not exist; promote another round, or run its campaign again")
    name = source = f"champion {record}"
    if not is_adapter(checkpoint):
        return Model(name, checkpoint, content, source)
    merged = models / f"{MERGED}{content}"
    with alone(merged) as scratch:
        if not (merged / MANIFEST).is_file():
            refuse_other_files(merged)
            write_whole(checkpoint, scratch / "checkpoint")
            install(name, scratch / "checkpoint", merged, source)
    return Model(name, merged, content, source)


def _served(name: str) -> str | None:
    return fingerprint({"served": name.removeprefix(SERVED)}) if name.startswith(SERVED) else None


def versions() -> dict[str, str]:
    """The installed versions of libraries that can change a result."""
    return {name: importlib.metadata.version(name) for name in ("torch", "transformers", "trl", "peft")}
