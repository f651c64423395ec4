"""Killed: does a run that is killed at random moments end with what an undisturbed run ends with?

A copy of one campaign, without its warm start, is run from nothing in a temporary home by `rft run`. A second copy is
run in a home of its own and killed (SIGKILL, with all its processes) after a random time, several times, and then left
to end. Its records must have the same fingerprints and the same content, checkpoints included, and no row of a table
may be missing or be there twice.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, NamedTuple

import polars as pl
import typer

from benchmarks.common import CampaignName, Goal, conclude, find_campaign, run, say
from benchmarks.fresh import ROOT, rft_run
from benchmarks.partial import Subject
from rft_pipeline.fingerprint import seed_of
from rft_pipeline.store import judgements_table, rollouts_table

SHARES = (0.2, 0.6)
"""A run is killed after a time between these shares of the undisturbed run's: once it has begun, before it ends."""


class Ended(NamedTuple):
    """What a home holds after its run."""

    seconds: float
    content: dict[str, str]
    """Content hash of each record, by its key and fingerprint."""
    rows: dict[str, tuple[int, int]]
    """Rows of each table, and how many different ids they have."""


def killed(
    campaign: CampaignName = "ticket_subject",
    prompts: Annotated[int, typer.Option(min=2, help="Prompts a round; eval prompts go down with them.")] = 16,
    kills: Annotated[int, typer.Option(min=1, help="How often the second run is killed.")] = 6,
) -> None:
    """An undisturbed run against one that is killed again and again."""
    loaded = find_campaign(campaign)
    chance = random.Random(seed_of(loaded.seed, "killed"))
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        plain, disturbed = (Subject(loaded, Path(folder), prompts) for folder in (first, second))
        for subject in (plain, disturbed):
            subject.edit("campaign.yaml", lambda settings: settings.update(audit=None, alarms=None))
            subject.edit("campaign.yaml", lambda settings: settings["training"].pop("warm_start", None))
        whole = ended(plain, began=time.perf_counter())
        say(f"undisturbed: {whole.seconds:.0f} s")
        began = time.perf_counter()
        for count in range(1, kills + 1):
            kill_after(whole.seconds * chance.uniform(*SHARES), disturbed)
            say(f"killed {count} of {kills} times: {disturbed.heights()['rollouts']:,} rollouts are kept")
        found = ended(disturbed, began)
    conclude(goals(whole, found, kills))


def ended(subject: Subject, began: float) -> Ended:
    """Let `rft run` come to its end. Raises `CalledProcessError`."""
    rft_run(subject.name, subject.env, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - began
    content = {record.address: record.content_hash for record in subject.records.all(subject.name)}
    rows = {}
    for table in (rollouts_table(subject.home.store), judgements_table(subject.home.store)):
        ids = table.rows().select(pl.col(table.key)).collect().to_series()
        rows[Path(table.path).name] = (len(ids), ids.n_unique())
    return Ended(seconds, content, rows)


def kill_after(seconds: float, subject: Subject) -> None:
    """Start `rft run`, and kill it and every process it started after so many seconds."""
    command = [sys.executable, "-m", "rft_pipeline.cli", "run", subject.name]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **subject.env},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        time.sleep(seconds)
        os.killpg(process.pid, signal.SIGKILL)


def goals(whole: Ended, found: Ended, kills: int) -> list[Goal]:
    other = sorted(address for address in whole.content if found.content.get(address) != whole.content[address])
    twice = sum(rows - different for rows, different in found.rows.values())
    missing = sum(whole.rows[name][1] - different for name, (_, different) in found.rows.items())
    same = len(whole.content) - len(other)
    return [
        Goal(
            f"records with the same content after {kills} kills",
            ", ".join([f"{same} of {len(whole.content)}", *other]),
            "all",
            not other,
        ),
        Goal("rows that are missing or there twice", f"{missing}, {twice}", "0, 0", missing == twice == 0),
        Goal(
            "time, in times of the undisturbed run",
            f"{found.seconds:.0f} s / {whole.seconds:.0f} s = {found.seconds / whole.seconds:.2f}",
            "–",
            True,
        ),
    ]


if __name__ == "__main__":
    run(killed)
