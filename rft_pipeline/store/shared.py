"""A store in a bucket that several machines share: RFT_STORE=s3://bucket/prefix.

RFT_HOME then holds a copy of the bucket's records and small files. Everything reads the copy; `refresh` fetches what is
new, and runs whenever a lock was taken. Everything that is written is written to the bucket first: a record's files
before its record.json, a cycle's before its cycle.json, so it appears as a whole. The rows of tables are appended in
the bucket (`rft_pipeline/store/tables.py`). The bucket has the layout of a home, and `locks/` with the leases.
"""

import hashlib
import json
import logging
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from rft_pipeline.errors import ConfigError, StoreError
from rft_pipeline.files import replace_text
from rft_pipeline.fingerprint import SHORT, file_sha256
from rft_pipeline.store.lease import require_leases

if TYPE_CHECKING:
    from rft_pipeline.store.places import Bucket

log = logging.getLogger(__name__)

COPY_OF = "shared_store.json"
"""A file in a home that copies a bucket: the address, and an id of this home."""
RECORD, CYCLE = "record.json", "cycle.json"
"""Written last: a folder with one of these is whole."""
STORE, TABLES, LOCKS = "store", "tables", "locks"
FETCHING = ".fetching"
PASSES = 5
REFRESH_SECONDS = 10.0
"""How old the copy may be for a command that takes no lock."""
PARTIAL_SECONDS = 24 * 3600
AT_ONCE = 8

_ADDRESS = re.compile(r"[a-z0-9]+://[A-Za-z0-9._-]+(/[A-Za-z0-9._=-]+)*")
_RECORD_FOLDER = re.compile(rf"({STORE}/.+?/[0-9a-f]{{{SHORT}}})(?=/|$)")
_CYCLE_FOLDER = re.compile(r"(cycles/[^/]+/[0-9]+)(?=/|$)")

_refreshed: dict[Path, float] = {}
"""When each home was last compared with its bucket by this process."""

Wanted = TypeVar("Wanted")


@dataclass(frozen=True)
class Shared:
    """The bucket that a home copies."""

    root: Path
    """The home."""
    url: str
    machine: str
    """Names the home among those that copy the same bucket."""

    @property
    def bucket(self) -> "Bucket":
        return _bucket(self.url)

    def name(self, path: Path) -> str:
        """The name in the bucket of a path in the home."""
        return path.relative_to(self.root).as_posix()

    def refresh(self) -> None:
        """Fetch what is new or changed, and forget records that are no longer in the bucket."""
        for _ in range(PASSES):  # a pointer that was fetched may name a record that came after the listing
            began = time.monotonic()
            if not self._refresh():
                break
        _refreshed[self.root] = began

    def _refresh(self) -> int:
        """Compare the home with the bucket once; the number of small files that were fetched."""
        copied = self._copied()  # before the bucket is listed: what is published meanwhile is no less there
        tags = self._tags()
        for folder in copied:
            if f"{folder}/{RECORD}" not in tags:
                self._forget(self.root / folder)
        whole = {name.rpartition("/")[0] for name in tags if name.endswith((f"/{RECORD}", f"/{CYCLE}"))}
        new = {folder: list[str]() for folder in whole if not (self.root / folder).exists()}
        changed = []
        for name, tag in tags.items():
            whose = _folder_that_is_whole(name)
            if whose is not None and whose in new:
                new[whose].append(name)
            elif whose is None or (whose in whole and not _RECORD_FOLDER.match(whose)):
                changed += [name] if self._differs(name, tag) else []
        _in_parallel(self._fetch_folder, new.items())
        for last in (False, True):  # an export's rows before the file that names them
            _in_parallel(self.fetch, [name for name in changed if name.endswith(".json") is last])
        return len(changed)

    def fetch(self, name: str) -> None:
        """Fetch one file. It appears as a whole."""
        path, partial = self.root / name, self.root / FETCHING / uuid.uuid4().hex
        self._download(name, partial)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.replace(path)

    def fetch_missing(self, files: Iterable[Path]) -> None:
        """Fetch the files that the home lacks; only for files that never change."""
        _in_parallel(self.fetch, [self.name(path) for path in files if not path.is_file()])

    def replace(self, path: Path, text: str) -> None:
        """Replace a small file, in the bucket and in the home. Raises `StoreError` if another machine did so since it
        was read, which the locks prevent."""
        require_leases()
        old = self.bucket.get(self.name(path))
        known = path.read_bytes() if path.is_file() else None
        if known != (None if old is None else old.content) or not self.bucket.replace(
            self.name(path), text.encode(), old
        ):
            self.refresh()
            raise StoreError(f"{self.bucket}/{self.name(path)}: another machine changed it meanwhile; try again")
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_text(path, text)

    def publish(self, folder: Path, target: Path, last: str) -> None:
        """Write the files of `folder` to the bucket as `target` in the home, `last` after all others."""
        require_leases()
        name, files = self.name(target), sorted(path for path in folder.rglob("*") if path.is_file())
        if self.bucket.get(f"{name}/{last}") is not None:  # it lacks a file, or one was altered
            self.bucket.delete(f"{name}/{last}")
        others = [path for path in files if path != folder / last]
        _in_parallel(self._upload, [(path, f"{name}/{path.relative_to(folder).as_posix()}") for path in others])
        require_leases()
        if self.bucket.replace(f"{name}/{last}", (folder / last).read_bytes(), None) is None:
            raise StoreError(f"{self.bucket}/{name}: another machine wrote it meanwhile; run again")

    def publish_files(self, *paths: Path) -> None:
        """Write files of the home to the bucket, one after the other."""
        require_leases()
        for path in paths:
            self._upload((path, self.name(path)))

    def _tags(self) -> dict[str, str]:
        """The entity tags of all files, without locks and tables."""
        below = [each for each in self.bucket.folders("") if each not in (STORE, LOCKS)]
        below += [f"{STORE}/{each}" for each in self.bucket.folders(STORE) if each != TABLES]
        return {name: tag for folder in below for name, tag in self.bucket.tags(f"{folder}/").items()}

    def _copied(self) -> list[str]:
        """The records in the home."""
        campaigns = [each for each in (self.root / STORE).glob("[!.]*/") if each.name != TABLES]
        return [self.name(path.parent) for each in campaigns for path in each.glob(f"**/[!.]*/{RECORD}")]

    def _differs(self, name: str, tag: str) -> bool:
        """Whether the copy has another content. Where tags are no MD5 sums, as with some encryption: always."""
        path = self.root / name
        return not path.is_file() or hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() != tag.strip('"')

    def _fetch_folder(self, wanted: tuple[str, list[str]]) -> None:
        """Fetch a record or a cycle; leave out a record whose files are not those that its record.json names."""
        folder, names = wanted
        partial = self.root / FETCHING / uuid.uuid4().hex
        if f"{folder}/{RECORD}" in names:
            self._download(f"{folder}/{RECORD}", partial / RECORD)
            files = json.loads((partial / RECORD).read_text(encoding="utf-8"))["files"]
            names = [name for name in names if name.removeprefix(f"{folder}/") in files]
        for name in names:
            self._download(name, partial / name.removeprefix(f"{folder}/"))
        if (partial / RECORD).is_file() and (wrong := _altered(partial)):
            log.warning("%s/%s: %s is missing or was altered; the stage runs again", self.bucket, folder, wrong)
            shutil.rmtree(partial)
            return
        (self.root / folder).parent.mkdir(parents=True, exist_ok=True)
        try:
            partial.rename(self.root / folder)
        except OSError:
            if not (self.root / folder).is_dir():
                raise
            shutil.rmtree(partial)  # another process fetched it meanwhile

    def _download(self, name: str, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.writelines(self.bucket.read(name))

    def _upload(self, file: tuple[Path, str]) -> None:
        path, name = file
        with path.open("rb") as content:
            self.bucket.write(name, iter(lambda: content.read(2**20), b""), path.stat().st_size)

    def _forget(self, folder: Path) -> None:
        gone = self.root / FETCHING / uuid.uuid4().hex
        gone.parent.mkdir(exist_ok=True)
        try:
            folder.rename(gone)
        except FileNotFoundError:
            return  # another process did so
        shutil.rmtree(gone)


def shared_by(path: Path) -> Shared | None:
    """The bucket that the home with this path copies, if it copies one."""
    for root in (path, *path.parents):
        try:
            stored = json.loads((root / COPY_OF).read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            continue
        return Shared(root, stored["url"], stored["machine"])
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
    if time.monotonic() - _refreshed.get(root, -REFRESH_SECONDS) >= REFRESH_SECONDS:
        _remove_partial(root / FETCHING)
        here.refresh()


def refuse_shared(root: Path, command: str, instead: str) -> None:
    """Raise `ConfigError` for a command that works on a folder alone."""
    if (found := shared_by(root)) is not None:
        raise ConfigError(f"{command}: does not work on a store in a bucket ({found.url}); {instead}")


def _new_copy(root: Path, url: str) -> Shared:
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


def _folder_that_is_whole(name: str) -> str | None:
    """The folder of the record or cycle that a file belongs to."""
    found = _RECORD_FOLDER.match(name) or _CYCLE_FOLDER.match(name)
    return None if found is None else found.group(1)


def _altered(folder: Path) -> str | None:
    """The first file of a record that is missing or has not the sha256 that record.json names."""
    files = json.loads((folder / RECORD).read_text(encoding="utf-8"))["files"]
    return next(
        (
            name
            for name, sha256 in files.items()
            if not (folder / name).is_file() or file_sha256(folder / name) != sha256
        ),
        None,
    )


@cache
def _bucket(url: str) -> "Bucket":
    from rft_pipeline.store.places import Bucket

    return Bucket(url)


def _in_parallel(work: Callable[[Wanted], None], wanted: Iterable[Wanted]) -> None:
    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        for _ in pool.map(work, wanted):
            pass
    finally:
        pool.shutdown(cancel_futures=True)
