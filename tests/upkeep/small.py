"""A store as somebody may find it."""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

from rft_pipeline.campaign import load_campaign
from rft_pipeline.fingerprint import file_sha256, fingerprint
from rft_pipeline.pipeline.plan import plan
from rft_pipeline.store import Home, Record, RecordStore, champions
from rft_pipeline.store.champions import Champion, History
from rft_pipeline.store.records import RECORD
from rft_pipeline.upkeep.gc import Garbage, free, garbage
from rft_pipeline.upkeep.verify import Verified, verify


def quietly(paths: list[Path], what: str) -> Iterable[Path]:
    return paths


def verified(campaign: str | None = None) -> Verified:
    return verify(Home.find().store, campaign, quietly)


def said(campaign: str | None = None) -> list[tuple[str, str, str]]:
    """Level, place below the store or beside it, and what, of each finding."""
    home = Home.find()
    return [
        (
            each.level,
            (Path(each.folder) / each.file).relative_to(home.root).as_posix().removeprefix("store/"),
            each.what,
        )
        for each in verified(campaign).findings
    ]


def collected(only: str | None = None, *, yes: bool) -> Garbage:
    """What `rft gc` finds, and with `yes` frees."""
    home = Home.find()
    campaigns = [load_campaign(home.data / name) for name in home.campaigns()]
    with garbage(home, campaigns, only, free=yes) as found:
        if yes:
            free(found)
    return found


def counts(found: Garbage) -> dict[str, int]:
    return {line.what: line.count for line in found.lines}


def stored(name: str) -> Record:
    record = RecordStore(Home.find().store).current(f"tiny/{name}")
    assert record is not None
    return record


def make_champion(*checkpoints: Record) -> None:
    """Make each the champion of the tiny campaign, one after the other, and no other one before them.

    Records that `older` made hold the same weights: their fingerprints tell them apart.
    """
    known: History = ()
    for each in checkpoints:
        known = champions.promote(known, Champion(each.address, each.fingerprint, 1, "", "", "better"))
    root = Home.find().root
    with champions.locked(root, "tiny"):
        champions.write(root, "tiny", known)


def older(name: str, seed: int, **upstream: Record) -> Record:
    """A record as another seed would have left it, not in force: that in force, copied under another fingerprint."""
    now = stored(name)
    payload = now.payload | {"settings": now.payload["settings"] | {"seed": seed}}
    folder = now.folder.with_name(fingerprint(payload))
    shutil.copytree(now.folder, folder)
    content = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    content |= {"payload": payload, "fingerprint": folder.name, "mlflow_run_id": f"run-{seed}"}
    content["upstream"] |= {role: record.address for role, record in upstream.items()}
    (folder / RECORD).write_text(json.dumps(content), encoding="utf-8")
    return RecordStore(Home.find().store).read(folder)


def skipped(folder: Path) -> list[str]:
    """The stages that need not run."""
    return [step.key for step in plan(load_campaign(folder), Home.find(), start=1).steps if step.action == "skip"]


def tree(root: Path) -> dict[str, str]:
    """Every file and folder, with the sha256 of files."""
    return {str(path.relative_to(root)): file_sha256(path) if path.is_file() else "folder" for path in root.rglob("*")}
