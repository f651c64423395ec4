"""Re-reads a store and reports what is missing or changed; it changes nothing.

A record's files are checked against the sha256 in its record.json, its payload against its fingerprint. record.json
itself has no hash: its content hash is checked against the inputs of the records made from it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rft_pipeline.campaign.cycles import FOLDER as CYCLES
from rft_pipeline.errors import StoreError
from rft_pipeline.fingerprint import file_sha256, fingerprint
from rft_pipeline.promotion import looks
from rft_pipeline.store import Record, RecordStore
from rft_pipeline.store.records import RECORD, TRAINING
from rft_pipeline.upkeep.findings import REMOVE, StoreFinding, error, warning
from rft_pipeline.upkeep.layout import (
    KEEP,
    StoreLayout,
    another_champion,
    being_made,
    champions_in,
    files_of,
    is_record,
    kept_by,
    key_of,
    layout,
    pointed_to,
    size_of,
)
from rft_pipeline.upkeep.verify_bucket import bucket_findings
from rft_pipeline.upkeep.verify_cycles import cycle_findings
from rft_pipeline.upkeep.verify_exports import export_findings
from rft_pipeline.upkeep.verify_tables import Track, lacking_rows, table_findings


@dataclass(frozen=True)
class Verified:
    """The findings, and how much was checked."""

    findings: list[StoreFinding]
    records: int
    files: int
    bytes: int

    @property
    def sound(self) -> bool:
        return not any(finding.level == "error" for finding in self.findings)


def verify(store: Path, campaign: str | None, track: Track) -> Verified:
    """Verify one campaign's records or all, and the tables. Raises `StoreError` for a campaign that was never run."""
    there = layout(store, campaign)
    records = RecordStore(store)
    findings: list[StoreFinding] = []
    read: list[Record] = []
    sound: list[Record] = []
    for folder in track(there.records, "records"):
        wrong, record = record_findings(records, folder)
        findings += wrong
        if record is not None:
            read.append(record)
            sound += [] if wrong else [record]
    for record in sound:
        findings += upstream_findings(records, record)
    findings += pointer_findings(store, there)
    findings += [] if campaign else keep_findings(store, read)
    findings += leftover_findings(records, there)
    findings += cycle_findings(store.parent / CYCLES, campaign)
    findings += look_findings(store.parent, campaign)
    broken, readable = table_findings(store, track)
    findings += broken
    if readable:
        findings += lacking_rows(store, sound, track)
        findings += export_findings(store, campaign)
        findings += bucket_findings(store, sound, track)
    return Verified(
        findings=findings,
        records=len(there.records),
        files=sum(len(files_of(folder)) for folder in there.records),
        bytes=sum(size_of(folder) for folder in there.records),
    )


def look_findings(home: Path, campaign: str | None) -> list[StoreFinding]:
    """Files of looks that cannot be read."""
    findings = []
    for path in sorted((home / looks.FOLDER).glob(f"{campaign or '[!.]*'}.json")):
        try:
            looks.read(home, path.stem)
        except StoreError as unreadable:
            do = "restore it from a backup; without the file the error budget of promotions starts again"
            findings.append(error(path.parent, path.name, f"cannot be read: {unreadable.__cause__}", do))
    return findings


def record_findings(records: RecordStore, folder: Path) -> tuple[list[StoreFinding], Record | None]:
    """What is wrong in a record's folder, and the record if its record.json can be read."""
    if not (folder / RECORD).is_file():
        return [error(folder, RECORD, "is missing")], None
    try:
        record = records.read(folder)
    except StoreError as unreadable:
        return [error(folder, RECORD, f"cannot be read: {unreadable.__cause__}")], None
    findings = []
    if record.address != folder.relative_to(records.root).as_posix():
        findings.append(error(folder, RECORD, f"is the record of another address, {record.address}"))
    if (made_from := _hash(record)) != record.fingerprint:
        findings.append(error(folder, RECORD, f"its payload hashes to {made_from}, not to {record.fingerprint}"))
    for name, sha256 in record.files.items():
        findings += _file_findings(folder, name, sha256)
    for path in files_of(folder):
        if (name := path.relative_to(folder).as_posix()) != RECORD and name not in record.files:
            findings.append(error(folder, name, "does not belong to this record", "remove the file"))
    return findings, record


def upstream_findings(records: RecordStore, record: Record) -> list[StoreFinding]:
    """Records it was made from that are gone or have other content than was read."""
    findings = []
    for role, address in record.upstream.items():
        if not is_record(records.root, address):
            what = f"was made from {role} {address}, which no longer exists"
            findings.append(warning(record.folder, RECORD, what, "nothing: the result is valid, its history is lost"))
            continue
        try:
            above = records.read(records.root / address)
        except StoreError:
            continue  # has its own finding
        was = record.payload["inputs"].get(role)
        if was is not None and was not in (above.content_hash, *above.parts.values()):
            what = f"read {role} {address} with content {was}; that record now says {above.content_hash}"
            findings.append(warning(record.folder, RECORD, what, f"remove the folder of {role} and run again"))
    return findings


def pointer_findings(store: Path, there: StoreLayout) -> list[StoreFinding]:
    """`current` files that point to nothing, and champions that are gone or have other weights than were promoted."""
    findings = []
    for pointer in there.pointers:
        if not is_record(store, address := pointed_to(store, pointer)):
            what = f"points to {address}, which does not exist"
            findings.append(error(pointer.parent, pointer.name, what, "run again"))
    for champion in there.champions:
        try:
            findings += _champion_findings(store, champion)
        except StoreError as unreadable:
            do = "fix the file, or restore it from a backup"
            findings.append(error(champion.parent, champion.name, f"cannot be read: {unreadable}", do))
    return findings


def _champion_findings(store: Path, champion: Path) -> Iterator[StoreFinding]:
    """An error for the current champion; a warning for earlier ones, to which a rollback is no longer possible."""
    for place, each in enumerate(champions_in(champion)):
        if not is_record(store, each.record):
            what = f"names {each.record}, which does not exist"
        elif (found := RecordStore(store).read(store / each.record).content_hash) != each.content_hash:
            what = f"names {each.record} with content {each.content_hash}; that record says {found}"
        else:
            continue
        if place == 0:
            yield error(champion.parent, champion.name, what, another_champion(champion))
        else:
            do = "nothing: it is not the current champion, and a rollback to it is not possible"
            yield warning(champion.parent, champion.name, what, do)


def keep_findings(store: Path, read: list[Record]) -> list[StoreFinding]:
    """Lines of keep.txt that name nothing."""
    lost = [kept for kept in kept_by(store, read) if not kept.records]
    what = "is neither a record's address nor the id of a run that made one"
    do = "correct the line or remove it"
    return [error(store, KEEP, f"line {kept.number}: {kept.line} {what}", do) for kept in lost]


def leftover_findings(records: RecordStore, there: StoreLayout) -> list[StoreFinding]:
    """Leftovers of killed runs; those of running stages do not count."""
    busy = being_made(records, there)
    dead = [path for path in there.leftovers if key_of(records.root, path) not in busy]
    what = "was left by a run that was killed"
    resumable = "running the stage again continues from it; `rft gc --yes` removes it"
    do = {path: resumable if path.name.startswith(TRAINING) else "`rft gc --yes` removes it" for path in dead}
    return [warning(path.parent, path.name, what, do[path]) for path in dead]


def _hash(record: Record) -> str:
    try:
        return fingerprint(record.payload)
    except (TypeError, ValueError):
        return "nothing"


def _file_findings(folder: Path, name: str, sha256: str) -> list[StoreFinding]:
    if not (folder / name).is_file():
        return [error(folder, name, "is missing")]
    try:
        found = file_sha256(folder / name)
    except OSError as unreadable:
        return [error(folder, name, f"cannot be read: {unreadable.strerror}", REMOVE)]
    return [] if found == sha256 else [error(folder, name, f"was altered: sha256 is {found}, was {sha256}")]
