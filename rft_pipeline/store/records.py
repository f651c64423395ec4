"""Records: the result of one stage, addressed by the fingerprint of its inputs.

A record is a folder `<store>/<campaign>/<stage key>/<fingerprint>/` with its files and `record.json`, which describes
inputs and results. The folder is filled under another name and then renamed, so a record is complete or absent. The
file `current` next to the records names the current one.
"""

import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from rft_pipeline.errors import StoreError
from rft_pipeline.fingerprint import file_sha256
from rft_pipeline.store.lock import held, held_if_idle
from rft_pipeline.store.shared import publish_folder, write_through

log = logging.getLogger(__name__)

RECORD = "record.json"
CURRENT = "current"
MAKING = ".making-"
TRAINING = ".training-"
STEPS = "steps.jsonl"
"""A file in a checkpoint's record: one line per optimiser step, with number and metrics."""


@dataclass(frozen=True)
class Record:
    """The result of a stage and its inputs."""

    key: str
    """`<campaign>/<stage>` or `<campaign>/round_<n>/<stage>`: the asset's key."""
    fingerprint: str
    payload: dict[str, Any]
    """The readable form of the fingerprint: stage, code version, settings, input hashes."""
    content_hash: str
    """Hash of the result: downstream stages are not recomputed if it is equal."""
    upstream: dict[str, str] = field(default_factory=dict)
    """Role → address of the record that was read. Another record with equal content would give the same result."""
    parts: dict[str, str] = field(default_factory=dict)
    """Content hashes of named parts, for stages that depend on one part only."""
    rows: dict[str, int] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    next_start: int | None = None
    """Of an eval report with alarms: the round whose checkpoint the next round starts from, 0 for base."""
    seconds: float = 0.0
    spent: dict[str, dict[str, float]] = field(default_factory=dict)
    """`count` and `seconds` by kind of work, e.g. `rollouts`; plans use these rates."""
    created: str = ""
    files: dict[str, str] = field(default_factory=dict)
    """File → sha256."""
    software: dict[str, str] = field(default_factory=dict)
    dagster_run_id: str | None = None
    mlflow_run_id: str | None = None
    folder: Path = Path()
    """The record's folder; not stored."""
    cached: bool = False
    """Whether it was found instead of computed; not stored."""

    @property
    def address(self) -> str:
        """Its path below the store: `<key>/<fingerprint>`."""
        return f"{self.key}/{self.fingerprint}"

    @property
    def is_complete(self) -> bool:
        """Whether no file is missing."""
        return all((self.folder / name).is_file() for name in self.files)

    def path(self, name: str) -> Path:
        """A file of the record. Raises `StoreError` if it is missing."""
        path = self.folder / name
        if not path.exists():
            raise StoreError(f"{self.folder}: {name} is missing; remove the folder and run the stage again")
        return path


class RecordStore:
    """All records below one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def find(self, key: str, fingerprint: str) -> Record | None:
        """The record with this fingerprint, if it exists and no file is missing."""
        folder = self.root / key / fingerprint
        if not (folder / RECORD).is_file():
            return None
        record = self.read(folder)
        return record if record.is_complete else None

    def read(self, folder: Path) -> Record:
        """Read the record.json of a folder, even if files are missing. Raises `StoreError`."""
        try:
            stored = json.loads((folder / RECORD).read_text(encoding="utf-8"))
            return replace(Record(**stored), folder=folder, cached=True)
        except (OSError, ValueError, TypeError) as error:
            raise StoreError(f"{folder / RECORD}: cannot be read: {error}; remove the folder and run again") from error

    def at(self, address: str) -> Record | None:
        """The record at `<key>/<fingerprint>`, if it is complete."""
        key, _, fingerprint = address.rpartition("/")
        return self.find(key, fingerprint)

    def all(self, below: str = "") -> list[Record]:
        """All complete records below a campaign or key (everything if empty), oldest first."""
        folders = (path.parent for path in (self.root / below).glob(f"**/[!.]*/{RECORD}"))
        addresses = (folder.relative_to(self.root).as_posix() for folder in folders)
        found = [record for address in addresses if (record := self.at(address)) is not None]
        return sorted(found, key=lambda record: (record.created, record.address))

    def current(self, key: str) -> Record | None:
        """The current record of a stage, if it is complete."""
        pointer = self.root / key / CURRENT
        return self.find(key, pointer.read_text(encoding="utf-8").strip()) if pointer.is_file() else None

    def was_made(self, key: str) -> bool:
        """Whether the stage ever had a current record, complete or not."""
        return (self.root / key / CURRENT).is_file()

    def make_current(self, record: Record) -> None:
        pointer = self.root / record.key / CURRENT
        pointer.parent.mkdir(parents=True, exist_ok=True)
        if pointer.is_file() and pointer.read_text(encoding="utf-8").strip() == record.fingerprint:
            return
        write_through(pointer, record.fingerprint + "\n")

    def holding(
        self, key: str, run: str | None = None, wait_for: Callable[[str], None] = log.warning
    ) -> AbstractContextManager[None]:
        """Lock a stage. While another process holds the lock, `wait_for` is called with that process."""
        return held(self.root / key, run, wait_for)

    @contextmanager
    def holding_idle(self, keys: Iterable[str]) -> Iterator[list[str]]:
        """Lock these stages without waiting; yields those that another process is running."""
        busy = []
        with ExitStack() as stack:
            for key in keys:
                if not stack.enter_context(held_if_idle(self.root / key)):
                    busy.append(key)
            yield busy

    @contextmanager
    def workdir(self, key: str) -> Iterator[Path]:
        """A work folder in the store, removed afterwards unless `commit` moved it. Call while `holding`."""
        parent = self.root / key
        parent.mkdir(parents=True, exist_ok=True)
        for leftover in parent.glob(f"{MAKING}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=MAKING, dir=parent))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def kept(self, key: str, fingerprint: str) -> Path:
        """The folder of a training's saved states; removed when its record is committed."""
        return self.root / key / f"{TRAINING}{fingerprint}"

    def commit(self, record: Record, workdir: Path) -> Record:
        """Hash the files of `workdir`, write record.json, and rename the folder to its final place."""
        files = sorted(path for path in workdir.rglob("*") if path.is_file())
        record = replace(record, files={str(path.relative_to(workdir)): file_sha256(path) for path in files})
        stored = asdict(record)
        del stored["folder"], stored["cached"]
        (workdir / RECORD).write_text(json.dumps(stored, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        folder = self.root / record.key / record.fingerprint
        publish_folder(workdir, folder, last=RECORD)
        if folder.exists():
            shutil.rmtree(folder)
        workdir.rename(folder)
        record = replace(record, folder=folder)
        self.make_current(record)
        shutil.rmtree(self.kept(record.key, record.fingerprint), ignore_errors=True)
        return record
