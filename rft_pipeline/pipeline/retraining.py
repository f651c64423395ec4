"""Beginning a cycle: look into the logs, draw, and write down what was drawn."""

import json
import math
import os
import shutil
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from rft_pipeline.alarms.history import ANCHORS_FILE, drift_processes, newest_report
from rft_pipeline.campaign import Campaign, Retrain
from rft_pipeline.campaign.cycles import (
    ANCHORS,
    CYCLE,
    PROMPTS,
    SEEN,
    SOURCES,
    Cycle,
    Pinned,
    champion,
    cycles,
    cycles_folder,
    seen_by,
    withdraw,
)
from rft_pipeline.errors import ConfigError
from rft_pipeline.fingerprint import canonical_json, file_sha256, fingerprint
from rft_pipeline.prompts.drawing import Drawn, draw
from rft_pipeline.prompts.logs import Logged, log_files, read_logs
from rft_pipeline.prompts.reading import read_source
from rft_pipeline.prompts.redaction import Redactor
from rft_pipeline.store import Home, Record, RecordStore


@dataclass(frozen=True)
class Look:
    """What the logs hold for the next cycle."""

    number: int
    """Of the cycle that would begin, or began."""
    drawn: Drawn
    policy: Pinned | None
    """The champion it would start from."""
    waits: str | None
    """Why no cycle begins; None when one does."""
    withdrawn: int
    """Rows of the newest cycle, interrupted, that opted out since: where there are any, it never goes on."""
    unusable: list[str]
    """Rows without a prompt that can be used: where, and why."""

    def as_json(self) -> dict[str, Any]:
        """Plain data without the prompts themselves."""
        counts = asdict(self.drawn)
        del counts["rows"], counts["unseen"], counts["sources"]
        policy = None if self.policy is None else asdict(self.policy)
        told = {"number": self.number, "prompts": len(self.drawn.rows), **counts}
        told |= {"unusable": len(self.unusable), "withdrawn": self.withdrawn}
        return {**told, "policy": policy, "waits": self.waits}

    @property
    def summary(self) -> str:
        """One line for people: what was drawn from what."""
        parts = [f"{self.drawn.new} new and {self.drawn.old} old prompts of {self.drawn.logged} logged rows"]
        if self.drawn.opted_out:
            parts.append(f"{self.drawn.opted_out} opted out")
        if self.unusable:
            parts.append(f"{len(self.unusable)} without a prompt that can be used")
        if self.drawn.like_held_out:
            parts.append(f"{self.drawn.like_held_out} left out as too like held-out prompts")
        parts += [f"{count} × {kind} redacted" for kind, count in sorted(self.drawn.redacted.items()) if count]
        parts += [_withdrawn(self.withdrawn, self.number)] if self.withdrawn else []
        return "; ".join(parts)


def retraining(campaign: Campaign) -> Retrain:
    """The campaign's `schedule.retrain`. Raises `ConfigError` when it has none."""
    if campaign.schedule is None or campaign.schedule.retrain is None:
        raise ConfigError(
            f"{campaign.folder / 'campaign.yaml'}: schedule.retrain: is not there; retraining needs "
            '`schedule: {retrain: {cron: "0 3 * * 1", logs: "logs/*.jsonl"}}`'
        )
    return campaign.schedule.retrain


def look(campaign: Campaign, home: Home) -> Look:
    """What a cycle that began now would be made of; nothing is written. `campaign` is campaign.yaml as it stands.

    Raises `ConfigError` and `DataError` as the logs' readers do, `StoreError` for a champion whose record is gone.
    """
    retrain = retraining(campaign)
    earlier = cycles(home, campaign.name)
    number = earlier[-1].number + 1 if earlier else 1
    files = log_files(campaign.folder, retrain.logs)
    logged, unusable = read_logs(files, retrain.opt_out)
    held_out = read_source(campaign.prompts.eval, campaign.folder)
    redactor = Redactor.of(retrain)
    withdrawn = _opted_out_since(logged, earlier)
    counting = [cycle for cycle in (earlier[:-1] if withdrawn else earlier) if not cycle.withdrawn]
    drawn = draw(logged, _seen(logged, counting), held_out, retrain, redactor, campaign.seed, number)
    waits = _waits(campaign, drawn, retrain, number, bool(files))
    if waits is not None and withdrawn:
        waits = f"{_withdrawn(withdrawn, number)}; {waits}"
    return Look(number, drawn, champion(home, campaign.name), waits, withdrawn, unusable)


def begin(campaign: Campaign, home: Home) -> Look:
    """Draw the next cycle and put it in force, unless it waits: the look says which.

    The newest cycle is withdrawn first, where it was interrupted and somebody whose prompt it holds opted out since.
    No run of the campaign may be going on: its stages would go on with other prompts.
    """
    folder = cycles_folder(home, campaign.name)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        found = look(campaign, home)
        if found.withdrawn:
            withdraw(cycles(home, campaign.name)[-1])
        if found.waits is None:
            report = newest_report(RecordStore(home.store), campaign.name)
            _write(found, folder / str(found.number), retraining(campaign), report)
    return found


def _opted_out_since(logged: list[Logged], earlier: list[Cycle]) -> int:
    """How many rows of the newest cycle opted out before it was decided."""
    if not earlier or earlier[-1].finished or earlier[-1].withdrawn:
        return 0
    refused = {key for each in logged if each.opted_out for key in each.keys}
    return sum(not refused.isdisjoint(keys) for keys in earlier[-1].sources)


def _withdrawn(count: int, number: int) -> str:
    return f"{count} prompts of cycle {number - 1}, interrupted, opted out since"


def _seen(logged: list[Logged], earlier: list[Cycle]) -> set[str]:
    """What counts as old: where something is new to all earlier cycles, what was new to an interrupted one is too."""
    seen = seen_by(earlier)
    if all(each.opted_out or each.prompt_id in seen for each in logged):
        return seen
    return seen_by([cycle for cycle in earlier if cycle.finished])


def _waits(campaign: Campaign, drawn: Drawn, retrain: Retrain, number: int, files: bool) -> str | None:
    if not files:
        return f"nothing new: no file matches {campaign.folder / retrain.logs}"
    if drawn.new == 0:
        since = f" since cycle {number - 1}" if number > 1 else ""
        like = f"; all {len(drawn.unseen)} new prompts are too like held-out ones" if drawn.unseen else ""
        return f"nothing new in {campaign.folder / retrain.logs}{since}{like}"
    least = math.ceil(campaign.training.batch_size / campaign.rollouts.group_size)
    if len(drawn.rows) < least:
        return (
            f"only {len(drawn.rows)} prompts ({drawn.new} of them new): one optimiser step takes {least} "
            f"(training.batch_size {campaign.training.batch_size}, rollouts.group_size {campaign.rollouts.group_size})"
        )
    return None


def _write(found: Look, folder: Path, retrain: Retrain, report: Record | None) -> None:
    """All or nothing."""
    beside = folder.with_name(f".{folder.name}-{os.getpid()}")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    lines = [canonical_json(row) + "\n" for row in found.drawn.rows]
    (beside / PROMPTS).write_text("".join(lines), encoding="utf-8")
    unseen = sorted(found.drawn.unseen)
    (beside / SOURCES).write_text("".join(f"{' '.join(keys)}\n" for keys in found.drawn.sources), encoding="utf-8")
    (beside / SEEN).write_text("".join(f"{each}\n" for each in unseen), encoding="utf-8")
    told = found.as_json() | {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "prompts_sha256": file_sha256(beside / PROMPTS),
        "seen": fingerprint(unseen),
        "settings": retrain.model_dump(mode="json"),
        "drift": None if report is None else _drift(report, beside),
    }
    del told["waits"]
    (beside / CYCLE).write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    beside.rename(folder)


def _drift(report: Record, folder: Path) -> dict[str, Any]:
    """Copy how the judges scored the anchors so far; what identifies that."""
    shutil.copyfile(report.path(ANCHORS_FILE), folder / ANCHORS)
    known = {name: asdict(each) for name, each in drift_processes(report.payload).items()}
    return {"report": report.address, "sha256": file_sha256(folder / ANCHORS), "processes": known}
