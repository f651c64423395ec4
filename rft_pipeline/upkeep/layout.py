"""The contents of a store's folder, found by names alone: records, pointers, and leftovers of killed runs."""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rft_pipeline.errors import ConfigError
from rft_pipeline.fingerprint import SHORT
from rft_pipeline.store.champions import FOLDER as CHAMPIONS
from rft_pipeline.store.champions import Champion, read, rollback_chain
from rft_pipeline.store.lock import LOCK
from rft_pipeline.store.records import CURRENT, MAKING, RECORD, TRAINING, Record, RecordStore

KEEP = "keep.txt"
"""File in the store with additional records to keep: one record's address or run id per line, `#` starts a comment."""
TABLES = "tables"

_FINGERPRINT = re.compile(f"[0-9a-f]{{{SHORT}}}")
_LEFTOVERS = (MAKING, TRAINING, f".{CURRENT}-")


@dataclass(frozen=True)
class StoreLayout:
    """Paths, each list sorted."""

    records: list[Path] = field(default_factory=list)
    """Folders named by a fingerprint, complete or not."""
    pointers: list[Path] = field(default_factory=list)
    """The files `current`."""
    champions: list[Path] = field(default_factory=list)
    """Files next to the store that name a campaign's champions."""
    locks: list[Path] = field(default_factory=list)
    leftovers: list[Path] = field(default_factory=list)
    """Folders and files of running or killed stages."""


def layout(store: Path, campaign: str | None = None) -> StoreLayout:
    """The contents for one campaign or for all. Raises `ConfigError` for an unknown campaign."""
    campaigns = sorted(path.name for path in store.glob("[!.]*/") if path.name != TABLES)
    if campaign is not None and campaign not in campaigns:
        raise ConfigError(
            f"{store}: no campaign {campaign!r} was ever run; there are: {', '.join(campaigns) or 'none'}"
        )
    champions = sorted((store.parent / CHAMPIONS).glob("[!.]*.json"))
    found = StoreLayout(champions=[path for path in champions if campaign in (None, path.stem)])
    for name in campaigns if campaign is None else [campaign]:
        for path in _walk(store / name):
            _sort_in(path, found)
    return found


def files_of(folder: Path) -> list[Path]:
    """All files below a folder, or the file itself."""
    return [folder] if folder.is_file() else sorted(path for path in folder.rglob("*") if path.is_file())


def size_of(path: Path) -> int:
    """Bytes of a file or of all files below a folder."""
    return sum(file.stat().st_size for file in files_of(path))


def pointed_to(store: Path, pointer: Path) -> str:
    """The address in a `current` file, whether it exists or not."""
    name = pointer.read_text(encoding="utf-8").strip()
    return f"{pointer.parent.relative_to(store).as_posix()}/{name}"


def champions_in(champion: Path) -> list[Champion]:
    """The current champion and all that rollbacks lead to. Raises `StoreError` for an unreadable file."""
    return rollback_chain(read(champion))


def another_champion(champion: Path) -> str:
    """What to do if the current champion's weights are gone. Removing the file would not help: the next run would
    promote the same round again."""
    return (
        f"`rft rollback {champion.stem}` returns to the previous champion, `rft promote {champion.stem} --round N "
        '--force --why "…"` promotes another round'
    )


def is_record(store: Path, address: str) -> bool:
    """Whether there is a record at an address."""
    _, _, name = address.rpartition("/")
    return _FINGERPRINT.fullmatch(name) is not None and (store / address / RECORD).is_file()


@dataclass(frozen=True)
class KeepLine:
    """A line of keep.txt."""

    number: int
    line: str
    records: list[Record]
    """The records it names."""


def kept_by(store: Path, records: Iterable[Record]) -> list[KeepLine]:
    """The lines of keep.txt with the records that each names, by address, Dagster run or MLflow run."""
    path = store / KEEP
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    by_name: dict[str | None, list[Record]] = {}
    for record in records:
        for name in {record.address, record.dagster_run_id, record.mlflow_run_id}:
            by_name.setdefault(name, []).append(record)
    numbered = ((number, line.partition("#")[0].strip()) for number, line in enumerate(lines, start=1))
    return [KeepLine(number, line, by_name.get(line, [])) for number, line in numbered if line]


def key_of(store: Path, path: Path) -> str:
    """The key of the stage whose folder contains a path."""
    return path.parent.relative_to(store).as_posix()


def being_made(records: RecordStore, there: StoreLayout) -> list[str]:
    """The keys of the stages that a process is running now."""
    with records.holding_idle(key_of(records.root, lock) for lock in there.locks) as busy:
        return busy


def _walk(folder: Path) -> Iterator[Path]:
    """Everything below a campaign's folder, except the contents of records and work folders."""
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            yield Path(entry.path)
            if entry.is_dir() and not (entry.name.startswith(".") or _FINGERPRINT.fullmatch(entry.name)):
                yield from _walk(Path(entry.path))


def _sort_in(path: Path, found: StoreLayout) -> None:
    name = path.name
    if name.startswith(_LEFTOVERS):
        found.leftovers.append(path)
    elif name == CURRENT:
        found.pointers.append(path)
    elif name == LOCK:
        found.locks.append(path)
    elif _FINGERPRINT.fullmatch(name) and path.is_dir():
        found.records.append(path)
