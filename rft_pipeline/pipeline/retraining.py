"""Beginning a retraining cycle: read the logs, draw prompts, and write the cycle's folder."""

import json
import math
import os
import shutil
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rft_pipeline.alarms.history import ANCHORS_FILE, drift_processes, newest_report
from rft_pipeline.campaign import Campaign, Retrain
from rft_pipeline.campaign.continuation import Pinned
from rft_pipeline.campaign.cycles import (
    ANCHORS,
    CYCLE,
    PROMPTS,
    SEEN,
    SOURCES,
    Cycle,
    champion,
    cycles,
    cycles_folder,
    seen_by,
    withdraw,
)
from rft_pipeline.errors import ConfigError
from rft_pipeline.fingerprint import canonical_json, file_sha256, fingerprint
from rft_pipeline.progress import counted
from rft_pipeline.prompts.drawing import Drawn, draw
from rft_pipeline.prompts.logs import Logged, log_files, read_logs
from rft_pipeline.prompts.reading import read_source
from rft_pipeline.prompts.redaction import Redactor
from rft_pipeline.store import Home, Record, RecordStore
from rft_pipeline.store.lock import alone
from rft_pipeline.store.shared import publish_folder


@dataclass(frozen=True)
class NextCycle:
    """The next cycle, drawn from the logs as they are now."""

    number: int
    drawn: Drawn
    policy: Pinned | None
    """The champion that it starts from."""
    refusal: str | None
    """Why it does not begin; None when it does."""
    withdrawn: int
    """Rows of the newest, interrupted cycle that opted out since; if there are any, that cycle is never resumed."""
    unusable: list[str]
    """Rows without a usable prompt: where, and why."""
    formats: list[str]
    """The formats of the logs, for people."""

    def as_json(self) -> dict[str, Any]:
        """Plain data without the prompts."""
        counts = asdict(self.drawn)
        del counts["rows"], counts["unseen"], counts["sources"]
        policy = None if self.policy is None else asdict(self.policy)
        return {
            "number": self.number,
            "prompts": len(self.drawn.rows),
            **counts,
            "unusable": len(self.unusable),
            "withdrawn": self.withdrawn,
            "policy": policy,
            "refusal": self.refusal,
        }

    @property
    def summary(self) -> str:
        """One line: how many prompts were drawn, and from what."""
        parts = [f"{self.drawn.new} new and {self.drawn.old} old prompts of {self.drawn.logged} logged rows"]
        if self.drawn.opted_out:
            parts.append(f"{self.drawn.opted_out} opted out")
        if self.unusable:
            parts.append(f"{len(self.unusable)} without a usable prompt")
        if self.drawn.like_held_out:
            parts.append(f"{self.drawn.like_held_out} left out: too similar to held-out prompts")
        parts += [f"{count} × {kind} redacted" for kind, count in sorted(self.drawn.redacted.items()) if count]
        parts += [_withdrawn(self.withdrawn, self.number)] if self.withdrawn else []
        return "; ".join(parts)


def retraining(campaign: Campaign) -> Retrain:
    """The campaign's `schedule.retrain`. Raises `ConfigError` when it has none."""
    if campaign.schedule is None or campaign.schedule.retrain is None:
        raise ConfigError(
            f"{campaign.folder / 'campaign.yaml'}: schedule.retrain: is missing; retraining needs "
            '`schedule: {retrain: {cron: "0 3 * * 1", logs: "logs/*.jsonl"}}`'
        )
    return campaign.schedule.retrain


def next_cycle(campaign: Campaign, home: Home) -> NextCycle:
    """The cycle that would begin now; nothing is written. `campaign` is campaign.yaml without a cycle's changes.

    Raises `ConfigError` and `DataError` as the readers of logs do, `StoreError` for a champion whose record is gone.
    """
    retrain = retraining(campaign)
    earlier = cycles(home, campaign.name)
    number = earlier[-1].number + 1 if earlier else 1
    files = log_files(campaign.folder, retrain.logs)
    logged, unusable, formats = read_logs(files, retrain.opt_out, retrain.format)
    held_out = read_source(campaign.prompts.eval, campaign.folder)
    redactor = Redactor.of(retrain)
    withdrawn = _opted_out_since(logged, earlier)
    valid = [cycle for cycle in (earlier[:-1] if withdrawn else earlier) if not cycle.withdrawn]
    drawn = draw(logged, _seen(logged, valid), held_out, retrain, redactor, campaign.seed, number)
    refusal = _refusal(campaign, drawn, retrain, number, bool(files))
    if refusal is not None and withdrawn:
        refusal = f"{_withdrawn(withdrawn, number)}; {refusal}"
    return NextCycle(number, drawn, champion(home, campaign.name), refusal, withdrawn, unusable, formats)


def begin(campaign: Campaign, home: Home) -> NextCycle:
    """Begin the next cycle, unless the result has a refusal.

    The newest cycle is withdrawn first if it was interrupted and one of its rows opted out since.
    Call while no run of the campaign is in progress: its remaining stages would read other prompts.
    """
    folder = cycles_folder(home, campaign.name)
    with alone(folder / ".begin"):
        found = next_cycle(campaign, home)
        if found.withdrawn:
            withdraw(cycles(home, campaign.name)[-1])
        if found.refusal is None:
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
    return f"{counted(count, 'prompt')} of cycle {number - 1}, interrupted, opted out since"


def _seen(logged: list[Logged], earlier: list[Cycle]) -> set[str]:
    """The prompts that count as old. Those of an interrupted cycle do only while the logs hold nothing newer."""
    seen = seen_by(earlier)
    if all(each.opted_out or each.prompt_id in seen for each in logged):
        return seen
    return seen_by([cycle for cycle in earlier if cycle.finished])


def _refusal(campaign: Campaign, drawn: Drawn, retrain: Retrain, number: int, files: bool) -> str | None:
    if not files:
        return f"nothing new: no file matches {campaign.folder / retrain.logs}"
    if drawn.new == 0:
        since = f" since cycle {number - 1}" if number > 1 else ""
        like = f"; {counted(len(drawn.unseen), 'new prompt')} too similar to a held-out one" if drawn.unseen else ""
        return f"nothing new in {campaign.folder / retrain.logs}{since}{like}"
    least = math.ceil(campaign.training.batch_size / campaign.rollouts.group_size)
    if len(drawn.rows) < least:
        return (
            f"only {counted(len(drawn.rows), 'prompt')} ({drawn.new} of them new): one optimiser step needs {least} "
            f"(training.batch_size {campaign.training.batch_size}, rollouts.group_size {campaign.rollouts.group_size})"
        )
    return None


def _write(found: NextCycle, folder: Path, retrain: Retrain, report: Record | None) -> None:
    """Write the cycle's folder, all or nothing."""
    temporary = folder.with_name(f".{folder.name}-{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    lines = [canonical_json(row) + "\n" for row in found.drawn.rows]
    (temporary / PROMPTS).write_text("".join(lines), encoding="utf-8")
    unseen = sorted(found.drawn.unseen)
    (temporary / SOURCES).write_text("".join(f"{' '.join(keys)}\n" for keys in found.drawn.sources), encoding="utf-8")
    (temporary / SEEN).write_text("".join(f"{each}\n" for each in unseen), encoding="utf-8")
    described = found.as_json() | {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "prompts_sha256": file_sha256(temporary / PROMPTS),
        "seen": fingerprint(unseen),
        "settings": retrain.model_dump(mode="json"),
        "drift": drift_at_begin(report, temporary),
    }
    del described["refusal"]
    (temporary / CYCLE).write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    publish_folder(temporary, folder, last=CYCLE)
    temporary.rename(folder)


def drift_at_begin(report: Record | None, folder: Path | None = None) -> dict[str, Any] | None:
    """What identifies the judges' scores of the anchors so far; they are copied to `folder`. None without a report."""
    if report is None:
        return None
    scores = report.path(ANCHORS_FILE)
    if folder is not None:
        shutil.copyfile(scores, folder / ANCHORS)
    known = {name: asdict(each) for name, each in drift_processes(report.payload).items()}
    return {"report": report.address, "sha256": file_sha256(scores), "processes": known}
