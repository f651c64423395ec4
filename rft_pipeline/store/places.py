"""Places that hold a home: a folder, or a prefix in an object store (S3, Google Cloud Storage, Azure Blob Storage).

Credentials of an object store are read from the environment by `obstore`, and never appear in an error.
"""

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import from_url

from rft_pipeline.errors import ConfigError, StoreError

SCHEMES = ("s3", "gs", "az")
PARTIAL = ".copying-"
"""Prefix of a file that is being written into a folder."""
BLOCK = 8 * 2**20
"""Bytes read at once. Larger files are uploaded in parts."""

_SECRET = re.compile(r"(AWS|GOOGLE|AZURE)_\w*(KEY|SECRET|TOKEN|CREDENTIAL|ACCOUNT|PASSWORD|SAS)")
_SHOWN = 300
"""Characters of a server's answer in an error."""


class File(NamedTuple):
    """A small file of an object store, as it was read."""

    content: bytes
    version: dict[str, str]
    """Names this content for `Bucket.replace`."""


class Place(Protocol):
    """Files by name; a name is a path with `/`, relative to the place."""

    def sizes(self, folders: Iterable[str]) -> dict[str, int]:
        """Bytes of each file below these folders."""
        ...

    def read(self, name: str) -> Iterator[bytes]:
        """The content of a file, in blocks."""
        ...

    def write(self, name: str, blocks: Iterator[bytes], size: int) -> None:
        """Write or replace a file of `size` bytes as a whole: readers never see a part of it."""
        ...


def place_of(where: str) -> Place:
    """The place with this address: s3://bucket/prefix (also gs://, az://container/prefix), or a folder.

    Raises `ConfigError` for another address, and for one that contains credentials.
    """
    if "://" not in where:
        return Folder(Path(where).absolute())
    address = urlsplit(where)
    if address.scheme not in SCHEMES or not address.netloc:
        allowed = "s3://bucket/prefix, gs://bucket/prefix, az://container/prefix"
        raise ConfigError(f"{where}: is no folder and no known address; allowed are a folder, {allowed}")
    if "@" in address.netloc or address.query or address.fragment:
        raise ConfigError(
            f"{address.scheme}://…: credentials and options do not belong into the address; set them in the "
            "environment, e.g. AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL"
        )
    return Bucket(where)


class Folder:
    """A folder of a file system."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __str__(self) -> str:
        return str(self.root)

    def sizes(self, folders: Iterable[str]) -> dict[str, int]:
        files = (path for folder in folders for path in (self.root / folder).rglob("*") if path.is_file())
        return {path.relative_to(self.root).as_posix(): path.stat().st_size for path in files}

    def read(self, name: str) -> Iterator[bytes]:
        with (self.root / name).open("rb") as file:
            while block := file.read(BLOCK):
                yield block

    def write(self, name: str, blocks: Iterator[bytes], size: int) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{PARTIAL}{path.name}")
        with partial.open("wb") as file:
            file.writelines(blocks)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)


class Bucket:
    """A prefix in an object store. All methods raise `StoreError` for what the server or the network refuses."""

    def __init__(self, url: str) -> None:
        self.url = url
        with self._errors():
            retries = {"max_retries": 4, "retry_timeout": timedelta(seconds=60)}
            self._store = from_url(url, retry_config=retries)  # type: ignore[call-overload]

    def __str__(self) -> str:
        return self.url

    def sizes(self, folders: Iterable[str]) -> dict[str, int]:
        with self._errors():
            lists = (each for folder in folders for each in obstore.list(self._store, prefix=folder))
            return {found["path"]: found["size"] for each in lists for found in each}

    def read(self, name: str) -> Iterator[bytes]:
        with self._errors():
            for block in obstore.get(self._store, name).stream(min_chunk_size=BLOCK):
                yield bytes(block)

    def sha256(self, name: str) -> str:
        """The sha256 of a file's content."""
        found = hashlib.sha256()
        for block in self.read(name):
            found.update(block)
        return found.hexdigest()

    def write(self, name: str, blocks: Iterator[bytes], size: int) -> None:
        with self._errors():
            content = b"".join(blocks) if size <= BLOCK else blocks
            obstore.put(self._store, name, content, chunk_size=BLOCK, max_concurrency=4)

    def tags(self, folder: str) -> dict[str, str]:
        """The entity tag of each file below a folder: another content has another one."""
        with self._errors():
            return {found["path"]: found["e_tag"] or "" for each in obstore.list(self._store, folder) for found in each}

    def folders(self, folder: str) -> list[str]:
        """The names of the folders directly in a folder."""
        with self._errors():
            prefixes = obstore.list_with_delimiter(self._store, folder or None)["common_prefixes"]
            return [prefix.rstrip("/").rpartition("/")[2] for prefix in prefixes]

    def get(self, name: str) -> File | None:
        """A small file, if it exists."""
        with self._errors():
            try:
                found = obstore.get(self._store, name)
                return File(bytes(found.bytes()), _version(found.meta))
            except FileNotFoundError:
                return None

    def replace(self, name: str, content: bytes, old: File | None) -> File | None:
        """Write a small file if it is still `old`, or still absent; None if somebody else wrote it meanwhile."""
        mode = "create" if old is None else old.version
        with self._errors():
            try:
                return File(content, _version(obstore.put(self._store, name, content, mode=mode)))  # type: ignore[arg-type]
            except (AlreadyExistsError, PreconditionError):
                pass
        # The answer to a first attempt may have been lost, and a second one was refused because of it.
        now = self.get(name)
        return now if now is not None and now.content == content else None

    def delete(self, name: str) -> None:
        """Remove a file if it exists."""
        with self._errors():
            obstore.delete(self._store, name)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (BaseError, OSError, ValueError) as error:
            lines = str(error).splitlines() or [type(error).__name__]
            said = without_credentials(lines[0])[:_SHOWN]
            raise StoreError(
                f"{self.url}: {said}; check the address, the network, and the variables of the environment with the "
                "credentials and the endpoint, e.g. AWS_ACCESS_KEY_ID and AWS_ENDPOINT_URL (AWS_ALLOW_HTTP=true for "
                "an endpoint without TLS)"
            ) from None


def _version(meta: Mapping[str, Any]) -> dict[str, str]:
    return {name: meta[name] for name in ("e_tag", "version") if meta.get(name) is not None}


def without_credentials(text: str) -> str:
    """The text with "…" for the values of the environment's variables that hold credentials of an object store."""
    values = {value for name, value in os.environ.items() if _SECRET.match(name.upper()) and value}
    for value in sorted(values, key=len, reverse=True):
        text = text.replace(value, "…")
    return text
