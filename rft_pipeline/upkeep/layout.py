"""What lies in a store's folder, found by names alone: records, pointers to them, and what killed runs left."""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rft_pipeline.errors import StoreError
from rft_pipeline.fingerprint import SHORT
from rft_pipeline.store.champions import FOLDER as CHAMPIONS
from rft_pipeline.store.champions import Champion, chain, read
from rft_pipeline.store.lock import LOCK
from rft_pipeline.store.records import CURRENT, MAKING, RECORD, TRAINING, Record, RecordStore

KEEP = "keep.txt"
"""In the store: what to keep beside what is in force; a record's address or a run's id a line, `#` before remarks."""
TABLES = "tables"

_FINGERPRINT = re.compile(f"[0-9a-f]{{{SHORT}}}")
_LEFTOVERS = (MAKING, TRAINING, f".{CURRENT}-")


@dataclass(frozen=True)
class Layout:
    """Paths, each list sorted."""

    records: list[Path] = field(default_factory=list)
    """Folders named by a fingerprint, whole or not."""
    pointers: list[Path] = field(default_factory=list)
    """The files `current`."""
    champions: list[Path] = field(default_factory=list)
    """Files beside the store that name a campaign's champions."""
    locks: list[Path] = field(default_factory=list)
    leftovers: list[Path] = field(default_factory=list)
    """Folders and files a stage is filling, or was when it was killed."""


def layout(store: Path, campaign: str | None = None) -> Layout:
    """What the store holds of one campaign or of all. Raises `StoreError` for a campaign it does not know."""
    there = sorted(path.name for path in store.glob("[!.]*/") if path.name != TABLES)
    if campaign is not None and campaign not in there:
        raise StoreError(f"{store}: no campaign {campaign!r} was ever run; there are: {', '.join(there) or 'none'}")
    named = sorted((store.parent / CHAMPIONS).glob("[!.]*.json"))
    found = Layout(champions=[path for path in named if campaign in (None, path.stem)])
    for name in there if campaign is None else [campaign]:
        for path in _walk(store / name):
            _sort_in(path, found)
    return found


def files_of(folder: Path) -> list[Path]:
    """All files below a folder; of a file, itself."""
    return [folder] if folder.is_file() else sorted(path for path in folder.rglob("*") if path.is_file())


def size_of(path: Path) -> int:
    """Bytes in a file or below a folder."""
    return sum(file.stat().st_size for file in files_of(path))


def pointed_to(store: Path, pointer: Path) -> str:
    """The address a `current` file names, whether something lies there or not."""
    named = pointer.read_text(encoding="utf-8").strip()
    return f"{pointer.parent.relative_to(store).as_posix()}/{named}"


def crowned(champion: Path) -> list[Champion]:
    """The champion in force and all that rollbacks lead back to. Raises `StoreError` for a file that cannot be
    read."""
    return chain(read(champion))


def another_champion(champion: Path) -> str:
    """What to do where the weights of the one in force are gone. Removing the file would help nobody: the next run
    promotes on the decision that is in force."""
    return (
        f"`rft rollback {champion.stem}` goes back to the one before, `rft promote {champion.stem} --round N --force "
        '--why "…"` makes another round champion'
    )


def is_record(store: Path, address: str) -> bool:
    """Whether a record's folder with its record.json lies at an address."""
    _, _, name = address.rpartition("/")
    return _FINGERPRINT.fullmatch(name) is not None and (store / address / RECORD).is_file()


@dataclass(frozen=True)
class KeepLine:
    """A line of keep.txt."""

    number: int
    line: str
    records: list[Record]
    """Those it names."""


def kept_by(store: Path, records: Iterable[Record]) -> list[KeepLine]:
    """The lines of keep.txt, and which of the records each names: by address, Dagster run or MLflow run."""
    path = store / KEEP
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    by_name: dict[str | None, list[Record]] = {}
    for record in records:
        for name in {record.address, record.dagster_run_id, record.mlflow_run_id}:
            by_name.setdefault(name, []).append(record)
    named = ((number, line.partition("#")[0].strip()) for number, line in enumerate(lines, start=1))
    return [KeepLine(number, line, by_name.get(line, [])) for number, line in named if line]


def key_of(store: Path, path: Path) -> str:
    """The key of the stage in whose folder a path lies."""
    return path.parent.relative_to(store).as_posix()


def being_made(records: RecordStore, there: Layout) -> list[str]:
    """The keys of the stages that a process holds right now."""
    with records.holding_idle(key_of(records.root, lock) for lock in there.locks) as busy:
        return busy


def _walk(folder: Path) -> Iterator[Path]:
    """Everything below a campaign's folder, but nothing within records and work folders."""
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            yield Path(entry.path)
            if entry.is_dir() and not (entry.name.startswith(".") or _FINGERPRINT.fullmatch(entry.name)):
                yield from _walk(Path(entry.path))


def _sort_in(path: Path, found: Layout) -> None:
    name = path.name
    if name.startswith(_LEFTOVERS):
        found.leftovers.append(path)
    elif name == CURRENT:
        found.pointers.append(path)
    elif name == LOCK:
        found.locks.append(path)
    elif _FINGERPRINT.fullmatch(name) and path.is_dir():
        found.records.append(path)
