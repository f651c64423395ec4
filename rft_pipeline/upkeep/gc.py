"""Removes what nothing needs: no current record, champion, line of keep.txt, or record that a run would reuse.

Kept records keep everything they were made from. What people said, and the exports that asked them, always
stay. A campaign with a running stage is left alone, and so are the tables while any stage runs, since a stage must find
its rows again.
"""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rft_pipeline.campaign import Campaign
from rft_pipeline.models import MERGED, alone
from rft_pipeline.stages.graph import nodes
from rft_pipeline.store import Home, RecordStore
from rft_pipeline.store.records import MAKING
from rft_pipeline.store.tables import KEPT_HOURS
from rft_pipeline.upkeep.gc_tables import Cleanup, clean_tables, unneeded_rows
from rft_pipeline.upkeep.layout import StoreLayout, being_made, champions_in, key_of, layout, size_of
from rft_pipeline.upkeep.reach import State, reachable, readable, reuse, state_of


@dataclass(frozen=True)
class GarbageLine:
    """One kind of garbage."""

    what: str
    count: int
    unit: str
    bytes: int | None
    """None for rows: they are removed from the table now, and from the disk by a later gc."""


@dataclass(frozen=True)
class Garbage:
    """Everything that can be removed."""

    records: list[Path] = field(default_factory=list)
    leftovers: list[Path] = field(default_factory=list)
    models: list[Path] = field(default_factory=list)
    """Merged champions, which can be merged again."""
    tables: list[Cleanup] = field(default_factory=list)
    lines: list[GarbageLine] = field(default_factory=list)
    being_made: list[str] = field(default_factory=list)
    """Running stages, because of which something was left alone."""

    @property
    def bytes(self) -> int:
        return sum(line.bytes or 0 for line in self.lines)


@contextmanager
def garbage(home: Home, campaigns: list[Campaign], only: str | None, *, free: bool) -> Iterator[Garbage]:
    """The garbage of one campaign or of all; with `free`, no stage can start meanwhile.

    `campaigns` must be all campaigns. Raises `StoreError` if the garbage cannot be determined.
    """
    records = RecordStore(home.store)
    there = layout(home.store)
    layout(home.store, only)
    keys = {node.key for campaign in campaigns for node in nodes(campaign)}
    keys |= {key_of(home.store, path) for path in (*there.locks, *there.records, *there.leftovers)}
    if free:
        with records.holding_idle(sorted(keys)) as busy:
            yield _look(home, campaigns, only, layout(home.store), busy)
    else:
        yield _look(home, campaigns, only, there, being_made(records, there))


def free(found: Garbage) -> None:
    """Remove the garbage. Call within `garbage(..., free=True)`."""
    for path in found.leftovers:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    for folder in found.models:
        with alone(folder) as scratch:
            folder.rename(scratch / folder.name)  # `alone` removes it, the next one if this process is killed
    for folder in found.records:
        shutil.rmtree(folder.rename(folder.with_name(f"{MAKING}{folder.name}")))
    clean_tables(found.tables)


def _look(home: Home, campaigns: list[Campaign], only: str | None, there: StoreLayout, busy: list[str]) -> Garbage:
    states = [state_of(campaign, home) for campaign in campaigns]
    kept = reachable(home, states, there)
    working = {key.partition("/")[0] for key in busy}

    def is_free(path: Path) -> bool:
        campaign = path.relative_to(home.store).parts[0]
        return campaign not in working and only in (None, campaign)

    unreached = {path for path in there.records if path.relative_to(home.store).as_posix() not in kept}
    records = [path for path in there.records if path in unreached and is_free(path)]
    leftovers = [path for path in there.leftovers if is_free(path)]
    others = (path for path in there.records if not (path in unreached and is_free(path)))
    staying = [record for record in readable(RecordStore(home.store), others) if record.is_complete]
    tables = [] if busy else unneeded_rows(home.store, staying, reuse(states))
    merged = [] if busy or only else unneeded_models(home.models, there.champions, states)
    return Garbage(records, leftovers, merged, tables, _lines(records, leftovers, merged, tables), busy)


def unneeded_models(models: Path, champions: Iterable[Path], states: Iterable[State]) -> list[Path]:
    """Folders of merged champions that are neither current, nor reachable by rollback, nor named by a campaign."""
    needed = {each.content_hash for path in champions for each in champions_in(path)}
    needed |= {content for state in states for content in state.sources.values()}
    return [path for path in sorted(models.glob(f"{MERGED}*/")) if path.name.removeprefix(MERGED) not in needed]


def _lines(records: list[Path], leftovers: list[Path], merged: list[Path], tables: list[Cleanup]) -> list[GarbageLine]:
    lines = [
        GarbageLine("unneeded records", len(records), "records", sum(map(size_of, records))),
        GarbageLine("leftovers of killed runs", len(leftovers), "folders", sum(map(size_of, leftovers))),
        GarbageLine("unneeded merged champions", len(merged), "folders", sum(map(size_of, merged))),
    ]
    for each in tables:
        name = Path(each.table.path).name
        lines.append(GarbageLine(f"{name} that no record needs", each.unneeded.height, "rows", None))
        lines.append(GarbageLine(f"duplicate {name}", each.doubled_rows, "rows", None))
        hour = f"unused for {KEPT_HOURS} h"
        lines.append(
            GarbageLine(f"files of {name} {hour}", len(each.expired), "files", sum(map(size_of, each.expired)))
        )
    return [line for line in lines if line.count]
