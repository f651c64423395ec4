"""How the judges scored the anchors before a round: in the report before it, or in the cycle before its own.

The drift of a criterion's judge is one process over all rounds and cycles of a campaign while the question, the judge,
the anchors and what they may move by stay the same. An edit of one of these starts a new process, with a new error
budget. A cycle takes a copy of what was known when it began, so that what runs meanwhile changes nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from rft_pipeline.alarms import ANCHORS
from rft_pipeline.campaign.addresses import judged_criteria_in
from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.store import Record, RecordStore

ANCHORS_FILE = "anchors.parquet"
"""In eval reports with alarms, and in cycles that follow one: the scored anchors so far, by the schema `ANCHORS`."""


@dataclass(frozen=True)
class DriftProcess:
    """What identifies the drift process of one criterion."""

    question: str
    """Fingerprint of the question, the anchors and what they may move by."""
    judge: str


def drift_processes(payload: Mapping[str, Any]) -> dict[str, DriftProcess]:
    """Criterion → its drift process, from the payload of an eval report with alarms."""
    settings = payload["settings"]
    alarms = settings["alarms"]
    shared = [
        payload["inputs"].get("anchors", ""),
        *(alarms[name] for name in ("version", "max_anchor_shift", "max_anchor_noise")),
        settings["seed"],
    ]
    return {
        each.name: DriftProcess(fingerprint([each.key.criterion, *shared]), each.judge)
        for each in judged_criteria_in(payload)
    }


def newest_report(records: RecordStore, campaign: str) -> Record | None:
    """The newest of the rounds' current eval reports that scored anchors."""
    keys = sorted(path.parent.name for path in (records.root / campaign).glob("round_*/eval_reports"))
    found = [records.current(f"{campaign}/{name}/eval_reports") for name in keys]
    scored = [each for each in found if each is not None and (each.folder / ANCHORS_FILE).is_file()]
    return max(scored, key=lambda each: (each.created, each.key), default=None)


def within_cycle(past: pl.DataFrame, then: Mapping[str, DriftProcess], now: Mapping[str, DriftProcess]) -> pl.DataFrame:
    """The rows of `past` on which the processes of today go on within a cycle. A judge may be another one: that is
    what the anchors then show."""
    same = [name for name, each in then.items() if name in now and now[name].question == each.question]
    return past.filter(pl.col("criterion").is_in(same))


def across_cycles(
    past: pl.DataFrame, then: Mapping[str, DriftProcess], now: Mapping[str, DriftProcess]
) -> pl.DataFrame:
    """The same of an earlier cycle, where the judge must be the same too. Rounds are counted back, so that the last is
    round 0."""
    same = [name for name, each in then.items() if now.get(name) == each]
    rows = past.filter(pl.col("criterion").is_in(same))
    return rows.with_columns(pl.col("round") - rows["round"].max()) if rows.height else rows


def read_scored(path: Path) -> pl.DataFrame:
    """A file of scored anchors; empty where there is none."""
    return pl.read_parquet(path, glob=False) if path.is_file() else ANCHORS.to_frame()
