"""Earlier scores of the anchors, from the previous report or the previous cycle.

The drift of a criterion's judge is one process over all rounds and cycles of a campaign, as long as the question, the
judge, the anchors and their limits stay the same. Editing one of these starts a new process with a new error budget.
A cycle copies the scores known when it begins, so that runs in parallel do not change its result.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from rft_pipeline.alarms.drift import ANCHORS
from rft_pipeline.campaign.addresses import judged_criteria_in
from rft_pipeline.fingerprint import fingerprint
from rft_pipeline.store import Record, RecordStore

ANCHORS_FILE = "anchors.parquet"
"""File of the scored anchors so far, by the schema `ANCHORS`; in eval reports with alarms and in cycles after them."""


@dataclass(frozen=True)
class DriftProcess:
    """What identifies the drift process of one criterion."""

    question: str
    """Fingerprint of the question, the anchors and their limits."""
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
        each.name: DriftProcess(fingerprint([each.fingerprint, *shared]), each.judge)
        for each in judged_criteria_in(payload)
    }


def newest_report(records: RecordStore, campaign: str) -> Record | None:
    """The newest current eval report that scored anchors."""
    keys = sorted(path.parent.name for path in (records.root / campaign).glob("round_*/eval_reports"))
    found = [records.current(f"{campaign}/{name}/eval_reports") for name in keys]
    scored = [each for each in found if each is not None and (each.folder / ANCHORS_FILE).is_file()]
    return max(scored, key=lambda each: (each.created, each.key), default=None)


def within_cycle(past: pl.DataFrame, then: Mapping[str, DriftProcess], now: Mapping[str, DriftProcess]) -> pl.DataFrame:
    """The rows of `past` that the processes of `now` continue within a cycle. The judge may differ: the anchors then
    show how much."""
    same = [name for name, each in then.items() if name in now and now[name].question == each.question]
    return past.filter(pl.col("criterion").is_in(same))


def across_cycles(
    past: pl.DataFrame, then: Mapping[str, DriftProcess], now: Mapping[str, DriftProcess]
) -> pl.DataFrame:
    """The rows of an earlier cycle that the processes of `now` continue; here the judge must be the same. Rounds are
    renumbered so that the last is 0."""
    same = [name for name, each in then.items() if now.get(name) == each]
    rows = past.filter(pl.col("criterion").is_in(same))
    return rows.with_columns(pl.col("round") - rows["round"].max()) if rows.height else rows


def read_scored(path: Path) -> pl.DataFrame:
    """The rows of a file of scored anchors; empty if there is no file."""
    return pl.read_parquet(path, glob=False) if path.is_file() else ANCHORS.to_frame()
