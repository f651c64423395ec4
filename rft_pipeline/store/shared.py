"""A store in a bucket that several machines share: RFT_STORE=s3://bucket/prefix.

RFT_HOME then holds a copy of the bucket's records and small files. Everything reads the copy; `refresh` fetches what is
new, and runs whenever a lock was taken. Everything that is written is written to the bucket first: a record's files
before its record.json, a cycle's before its cycle.json, so it appears as a whole. The rows of tables are appended in
the bucket (`rft_pipeline/store/tables.py`). The bucket has the layout of a home, and `locks/` with the leases.
"""

import json
import os
import re
import shutil
import time
import uuid
from pathlib import Path

from rft_pipeline.errors import ConfigError
from rft_pipeline.files import replace_text
from rft_pipeline.store.bucket_copy import FETCHING, STORE, BucketCopy
from rft_pipeline.store.lease import require_leases

COPY_OF = "shared_store.json"
"""A file in a home that copies a bucket: the address, and an id of this home."""
REFRESH_SECONDS = 10.0
"""How old the copy may be for a command that takes no lock."""
PARTIAL_SECONDS = 24 * 3600

_ADDRESS = re.compile(r"[a-z0-9]+://[A-Za-z0-9._-]+(/[A-Za-z0-9._=-]+)*")


def shared_by(path: Path) -> BucketCopy | None:
    """The bucket that the home with this path copies, if it copies one."""
    for root in (path, *path.parents):
        try:
            stored = json.loads((root / COPY_OF).read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            continue
        return BucketCopy(root, stored["url"], stored["machine"])
    return None


def write_through(path: Path, text: str) -> None:
    """Replace a small file of a home, and first in the bucket if machines share one."""
    if (shared := shared_by(path)) is None:
        replace_text(path, text)
    else:
        shared.replace(path, text)


def publish(*paths: Path) -> None:
    """Write files of a home to its bucket, in this order, if machines share one."""
    if paths and (shared := shared_by(paths[0])) is not None:
        shared.publish_files(*paths)


def publish_folder(folder: Path, target: Path, last: str) -> None:
    """Write a folder that is to be renamed to `target` to the bucket, its file `last` after all others, if machines
    share one."""
    if (shared := shared_by(target)) is not None:
        shared.publish(folder, target, last)


def remove(path: Path) -> None:
    """Remove a file of a home, and first from the bucket if machines share one."""
    if (shared := shared_by(path)) is not None:
        require_leases()
        shared.bucket.delete(shared.name(path))
    path.unlink(missing_ok=True)


def connect(root: Path) -> None:
    """Make the home a copy of the bucket in RFT_STORE, and fetch what is new. Without RFT_STORE do nothing.

    Raises `ConfigError` for an address that cannot be used, and for a home with another store.
    """
    url = os.environ.get("RFT_STORE", "").rstrip("/")
    here = shared_by(root)
    if here is not None and here.url != url:
        raise ConfigError(
            f"{root}: holds a copy of {here.url}; set RFT_STORE={here.url}, or set RFT_HOME to another folder"
        )
    if not url:
        return
    if here is None:
        here = _new_copy(root, url)
    if here.age() >= REFRESH_SECONDS:
        _remove_partial(root / FETCHING)
        here.refresh()


def refuse_shared(root: Path, command: str, instead: str) -> None:
    """Raise `ConfigError` for a command that works on a folder alone."""
    if (found := shared_by(root)) is not None:
        raise ConfigError(f"{command}: does not work on a store in a bucket ({found.url}); {instead}")


def _new_copy(root: Path, url: str) -> BucketCopy:
    from rft_pipeline.store.places import place_of

    place_of(url)
    if not _ADDRESS.fullmatch(url):
        raise ConfigError(
            f"RFT_STORE={url}: must be s3://bucket/prefix, gs://bucket/prefix or az://container/prefix, with letters, "
            "digits and . _ = - in the prefix; for a folder, set RFT_HOME"
        )
    if (root / STORE).exists():
        raise ConfigError(
            f"{root}: holds a store of its own; copy it with `rft store copy {root} {url}`, and set RFT_HOME to an "
            "empty folder, or unset RFT_STORE"
        )
    root.mkdir(parents=True, exist_ok=True)
    replace_text(root / COPY_OF, json.dumps({"url": url, "machine": uuid.uuid4().hex}) + "\n")
    found = shared_by(root)
    assert found is not None
    return found


def _remove_partial(folder: Path) -> None:
    """Remove what killed processes had begun to fetch."""
    for path in folder.glob("*"):
        if time.time() - path.stat().st_mtime > PARTIAL_SECONDS:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
