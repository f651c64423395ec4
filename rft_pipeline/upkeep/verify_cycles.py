"""Re-reads the retraining cycles: their drawn prompts and seen rows, against cycle.json."""

import json
from collections.abc import Iterator
from pathlib import Path

from rft_pipeline.campaign.cycles import ANCHORS, CYCLE, PROMPTS, SEEN
from rft_pipeline.fingerprint import file_sha256, fingerprint
from rft_pipeline.upkeep.findings import Finding, error

REDRAW = "restore the file from a backup, or remove the cycle's folder: the next cycle draws its new prompts again"


def cycle_findings(cycles: Path, campaign: str | None) -> Iterator[Finding]:
    """What is wrong with the cycles of one campaign or of all; `cycles` is their folder in the home."""
    for folder in sorted(cycles.glob(f"{campaign or '[!.]*'}/[!.]*/")):
        try:
            stored = json.loads((folder / CYCLE).read_text(encoding="utf-8"))
            prompts, seen = stored["prompts_sha256"], stored["seen"]
        except (OSError, ValueError, TypeError, KeyError) as unreadable:
            yield error(folder, CYCLE, f"cannot be read: {unreadable!r}", REDRAW)
            continue
        written = [(PROMPTS, prompts, file_sha256), (SEEN, seen, _fingerprint)]
        if (drift := stored.get("drift")) is not None:
            written.append((ANCHORS, drift["sha256"], file_sha256))
        for name, expected, hash_of in written:
            if not (folder / name).is_file():
                yield error(folder, name, "is missing", REDRAW)
            elif hash_of(folder / name) != expected:
                yield error(folder, name, "was altered", REDRAW)


def _fingerprint(seen: Path) -> str:
    return fingerprint(seen.read_text(encoding="utf-8").splitlines())
