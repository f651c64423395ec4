"""A home as the copy of a bucket: what is fetched from it, and what is written to it."""

import hashlib
import json
import logging
import math
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

from rft_pipeline.errors import StoreError
from rft_pipeline.files import replace_text
from rft_pipeline.fingerprint import SHORT, file_sha256
from rft_pipeline.store.lease import require_leases

if TYPE_CHECKING:
    from rft_pipeline.store.places import Bucket

log = logging.getLogger(__name__)

RECORD, CYCLE = "record.json", "cycle.json"
"""Written last: a folder with one of these is whole."""
STORE, TABLES, LOCKS = "store", "tables", "locks"
FETCHING = ".fetching"
PASSES = 5
AT_ONCE = 8

_RECORD_FOLDER = re.compile(rf"({STORE}/.+?/[0-9a-f]{{{SHORT}}})(?=/|$)")
_CYCLE_FOLDER = re.compile(r"(cycles/[^/]+/[0-9]+)(?=/|$)")

_refreshed: dict[Path, float] = {}
"""When each home was last compared with its bucket by this process."""

Wanted = TypeVar("Wanted")


@dataclass(frozen=True)
class BucketCopy:
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

    def age(self) -> float:
        """Seconds since this process last compared the home with the bucket."""
        return time.monotonic() - _refreshed.get(self.root, -math.inf)

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
