"""The models' share of gc: adapters of champions that were merged, once no champion one may go back to is theirs."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from rft_pipeline.champions import History, read
from rft_pipeline.models import MERGED
from rft_pipeline.upkeep.reach import State


def unneeded_models(models: Path, champions: Iterable[Path], states: Iterable[State]) -> list[Path]:
    """Folders of merged champions that are neither in force, nor one before it, nor named by a campaign."""
    needed = {content for path in champions for content in _chain(read(path))}
    needed |= {content for state in states for content in state.sources.values()}
    return [path for path in sorted(models.glob(f"{MERGED}*/")) if path.name.removeprefix(MERGED) not in needed]


def _chain(known: History) -> Iterator[str]:
    """The champion in force and all before it, one rollback after the other."""
    place = len(known) - 1 if known else None
    while place is not None:
        yield known[place].content_hash
        place = known[place].previous
