"""Copies a home from one place to another, and checks every file that it wrote by reading it again.

What a record needs is there before its record.json, a table's files before its log, and what names records last. So a
copy that was killed shows no record that lacks a file, and the same command goes on with it.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from rft_pipeline.campaign.cycles import FOLDER as CYCLES
from rft_pipeline.errors import ConfigError, StoreError
from rft_pipeline.progress import counted
from rft_pipeline.promotion.looks import FOLDER as LOOKS
from rft_pipeline.store import RecordStore
from rft_pipeline.store.champions import FOLDER as CHAMPIONS
from rft_pipeline.store.lock import HOLDER
from rft_pipeline.store.places import PARTIAL, Folder, Place, place_of
from rft_pipeline.store.records import CURRENT, MAKING, RECORD
from rft_pipeline.store.shared import refuse_shared
from rft_pipeline.upkeep.layout import TABLES, key_of, layout

STORE = "store"
FOLDERS = (STORE, CHAMPIONS, CYCLES, LOOKS)
"""What cannot be made or fetched again. Models, MLflow, Dagster's home and pages are not copied."""
AT_ONCE = 8
"""Files copied at the same time: an object store takes many requests, each of which waits."""
TABLE_LOG = "/_delta_log/"

_STAGED = re.compile(r"#\d+$")
"""The end of the name of a table's file that deltalake has not yet linked or renamed to its own."""


Result = TypeVar("Result")
Track = Callable[[list[Path], str], Iterable[Path]]
"""Yields the paths one by one and shows progress; the text names them."""


@dataclass(frozen=True)
class Copied:
    """What a copy did."""

    files: int
    """Files written."""
    bytes: int
    """Bytes of these."""
    present: int
    """Files that were there already, with the same content."""
    records: int
    """Records whose files all have the sha256 that record.json names."""


def copy(source: str, target: str, track: Track) -> Copied:
    """Copy the home at `source` to `target`; each is a folder or an address of an object store.

    Files that are there already with the same content are not written again. Raises `ConfigError` for an address that
    cannot be used, or a target that holds files which the source lacks; `StoreError` for a running stage, a record
    whose files are missing or altered, a file that reads back differently, and errors of the server.
    """
    here, there = place_of(source), place_of(target)
    for place in (here, there):
        if isinstance(place, Folder):
            refuse_shared(place.root, f"rft store copy: {place}", "name the bucket")
    with ExitStack() as stack:
        for place in (here, there):
            stack.enter_context(_idle(place))
        sizes = _files(here)
        if not any(name.startswith(f"{STORE}/") for name in sizes):
            raise ConfigError(f"{here}: has no store; name a state folder, e.g. .rft, or where one was copied to")
        expected = _expected(here, sizes)
        present = _files(there)
        _refuse_others(sizes, present, here, there)
        if isinstance(here, Folder):  # before anything is written; a bucket is read once, its files are checked later
            for _ in _in_parallel(
                lambda name: _checked(here, name, expected[name]), sorted(expected), track, "checked"
            ):
                pass
        written = [
            name
            for rank in range(3)
            for name in _in_parallel(
                lambda name: _copied(here, there, name, sizes[name], present.get(name), expected.get(name)),
                sorted(name for name in sizes if _rank(name) == rank),
                track,
            )
            if name is not None
        ]
    return Copied(
        files=len(written),
        bytes=sum(sizes[name] for name in written),
        present=len(sizes) - len(written),
        records=sum(_is_record(name) for name in sizes),
    )


def _files(place: Place) -> dict[str, int]:
    """Files to copy and their bytes: no locks, and nothing that a run had only begun to write.

    The logs of the tables are listed first, so that the files they name are among those listed afterwards.
    """
    logs = place.sizes([f"{STORE}/{TABLES}"])
    found = place.sizes(FOLDERS).items()
    return {name: size for name, size in found if (TABLE_LOG not in name or name in logs) and not _is_passing(name)}


def _is_passing(name: str) -> bool:
    folder, *parts = name.split("/")
    if folder != STORE:
        return any(part.startswith(".") for part in parts)
    begun = (MAKING, PARTIAL, f".{CURRENT}-")
    if TABLES in parts[:1] and _STAGED.search(name):
        return True
    return any(part.startswith(begun) or part == HOLDER or part.endswith(".lock") for part in parts)


def _is_record(name: str) -> bool:
    return name.startswith(f"{STORE}/") and name.endswith(f"/{RECORD}")


def _rank(name: str) -> int:
    """What is copied first (0) and last (2)."""
    if not name.startswith(f"{STORE}/") or name.endswith(f"/{CURRENT}"):
        return 2
    return 1 if _is_record(name) or TABLE_LOG in name else 0


def _refuse_others(sizes: dict[str, int], present: dict[str, int], here: Place, there: Place) -> None:
    if others := sorted(present.keys() - sizes.keys()):
        raise ConfigError(
            f"{there}: holds {counted(len(others), 'file')} that {here} lacks, e.g. {', '.join(others[:3])}; copy to "
            "an empty place, or go on with a copy to which nothing was added and from whose source nothing was "
            "removed since"
        )


def _expected(here: Place, sizes: dict[str, int]) -> dict[str, str]:
    """The sha256 of each file of each record, by record.json. Raises `StoreError` where one is missing."""
    expected: dict[str, str] = {}
    records = [name for name in sizes if _is_record(name)]
    for name, (files, unreadable) in zip(records, _each(lambda name: _named(here, name), records), strict=True):
        folder = name.removesuffix(RECORD)
        expected |= {f"{folder}{file}": sha256 for file, sha256 in files.items()}
        missing = [file for file in files if f"{folder}{file}" not in sizes]
        if missing or unreadable:
            what = unreadable or f"{missing[0]} is missing"
            raise StoreError(f"{here}/{folder}: {what}; remove the folder and copy again: `rft run` makes it anew")
    return expected


def _named(here: Place, name: str) -> tuple[dict[str, str], str]:
    """The files that a record.json names, and what is wrong with it."""
    try:
        return dict(json.loads(b"".join(here.read(name)))["files"]), ""
    except (ValueError, TypeError, KeyError) as error:
        return {}, f"{RECORD} cannot be read: {error!r}"


def _copied(
    here: Place, there: Place, name: str, size: int, size_there: int | None, expected: str | None
) -> str | None:
    """Copy one file unless it is there; its name if it was written."""
    found = hashlib.sha256()
    if size_there == size and _sha256(there.read(name)) == _checked(here, name, expected):
        return None
    there.write(name, _hashed(here.read(name), found), size)
    _check(here, name, found.hexdigest(), expected)
    if (back := _sha256(there.read(name))) != found.hexdigest():
        raise StoreError(
            f"{there}/{name}: reads back with sha256 {back}, was written with {found.hexdigest()}; copy again"
        )
    return name


def _checked(here: Place, name: str, expected: str | None) -> str:
    sha256 = _sha256(here.read(name))
    _check(here, name, sha256, expected)
    return sha256


def _check(here: Place, name: str, sha256: str, expected: str | None) -> None:
    if expected is not None and sha256 != expected:
        raise StoreError(
            f"{here}/{name}: was altered: sha256 is {sha256}, was {expected}; remove the record's folder and copy "
            "again: `rft run` makes it anew"
        )


def _hashed(blocks: Iterator[bytes], into: Any) -> Iterator[bytes]:
    for block in blocks:
        into.update(block)
        yield block


def _sha256(blocks: Iterator[bytes]) -> str:
    found = hashlib.sha256()
    for block in blocks:
        found.update(block)
    return found.hexdigest()


def _in_parallel(
    work: Callable[[str], Result], names: list[str], track: Track, done: str = "copied"
) -> Iterator[Result]:
    paths = [Path(name) for name in names]
    for _, result in zip(track(paths, f"files {done}"), _each(work, names), strict=True):
        yield result


def _each(work: Callable[[str], Result], names: list[str]) -> Iterator[Result]:
    """The result of each, in order; after an error no further one is begun."""
    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        yield from pool.map(work, names)
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _idle(place: Place) -> Iterator[None]:
    """Keep runs on this machine from starting a stage in a folder. Raises `StoreError` while one is running."""
    if not isinstance(place, Folder) or not (store := place.root / STORE).is_dir():
        yield
        return
    with RecordStore(store).holding_idle(key_of(store, lock) for lock in layout(store).locks) as busy:
        if busy:
            raise StoreError(f"{place}: being made now: {', '.join(busy)}; wait until the run is done, or cancel it")
        yield
