"""Re-reads the cycles: the drawn prompts and seen rows of a retraining cycle, and what an edit cycle continues."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rft_pipeline.campaign.cycles import ANCHORS, CYCLE, OUTCOME, PROMPTS, SEEN, WITHDRAWN
from rft_pipeline.errors import StoreError
from rft_pipeline.fingerprint import file_sha256, fingerprint
from rft_pipeline.store import RecordStore
from rft_pipeline.upkeep.findings import StoreFinding, error

_Written = list[tuple[str, str, Callable[[Path], str]]]
"""File, the hash that cycle.json says, and how it is computed."""
REDRAW = "restore the file from a backup, or remove the cycle's folder: the next cycle draws its new prompts again"
BEGIN_AGAIN = "restore it from a backup, or remove the cycle's folder: `rft run` then begins a new cycle"


def cycle_findings(cycles: Path, campaign: str | None) -> Iterator[StoreFinding]:
    """What is wrong with the cycles of one campaign or of all; `cycles` is their folder in the home."""
    for folder in sorted(cycles.glob(f"{campaign or '[!.]*'}/[!.]*/")):
        try:
            stored = json.loads((folder / CYCLE).read_text(encoding="utf-8"))
            edit = stored.get("edit")
            written = _Written()
            if not edit:
                written = [(PROMPTS, stored["prompts_sha256"], file_sha256), (SEEN, stored["seen"], _fingerprint)]
        except (OSError, ValueError, TypeError, KeyError) as unreadable:
            yield error(folder, CYCLE, f"cannot be read: {unreadable!r}", REDRAW)
            continue
        if (drift := stored.get("drift")) is not None:
            written.append((ANCHORS, drift["sha256"], file_sha256))
        for name, expected, hash_of in written:
            if not (folder / name).is_file():
                yield error(folder, name, "is missing", REDRAW)
            elif hash_of(folder / name) != expected:
                yield error(folder, name, "was altered", REDRAW)
        if edit and not (folder / OUTCOME).is_file() and not (folder / WITHDRAWN).is_file():
            yield from _continued(folder, edit, RecordStore(cycles.parent / "store"))


def _continued(folder: Path, edit: Mapping[str, Any], records: RecordStore) -> Iterator[StoreFinding]:
    """The records that an unfinished edit cycle reads: those that it starts from and takes."""
    for role in ("start", "taken"):
        if (pinned := edit[role]) is None:
            continue
        try:
            record = records.at(pinned["address"])
        except StoreError:
            record = None
        if record is None:
            yield error(folder, CYCLE, f"{role} {pinned['address']} is missing or incomplete", BEGIN_AGAIN)
        elif record.content_hash != pinned["content_hash"]:
            yield error(folder, CYCLE, f"{role} {pinned['address']} has another content", BEGIN_AGAIN)


def _fingerprint(seen: Path) -> str:
    return fingerprint(seen.read_text(encoding="utf-8").splitlines())
