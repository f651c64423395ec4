"""Re-reads the records and tables of a store in a bucket, and compares them with this home's copy of them."""

from pathlib import Path

from rft_pipeline.fingerprint import file_sha256
from rft_pipeline.store import Record
from rft_pipeline.store.bucket_copy import BucketCopy
from rft_pipeline.store.records import RECORD
from rft_pipeline.store.shared import shared_by
from rft_pipeline.upkeep.findings import StoreFinding
from rft_pipeline.upkeep.verify_tables import Track, tables_of

REMOVE = "remove the record's folder from the bucket and run again"
RESTORE = "copy the file from this home to the bucket"


def bucket_findings(store: Path, sound: list[Record], track: Track) -> list[StoreFinding]:
    """What differs in the bucket from sound records and from the files of the tables; nothing for a local store."""
    if (shared := shared_by(store)) is None:
        return []
    files = {record.folder / name: REMOVE for record in sound for name in (RECORD, *record.files)}
    files |= {path: RESTORE for table in tables_of(store) if table.exists() for path in table.files()}
    sizes = shared.bucket.sizes(["store/"])
    findings = []
    for path in track(sorted(files), "files in the bucket"):
        if what := _difference(shared, path, sizes):
            folder = f"{shared.url}/{shared.name(path.parent)}"
            findings.append(StoreFinding("error", folder, path.name, what, files[path]))
    return findings


def _difference(shared: BucketCopy, path: Path, sizes: dict[str, int]) -> str | None:
    name = shared.name(path)
    if name not in sizes:
        return "is missing"
    if sizes[name] != path.stat().st_size or shared.bucket.sha256(name) != file_sha256(path):
        return "was altered: it is not the file that this home fetched"
    return None
