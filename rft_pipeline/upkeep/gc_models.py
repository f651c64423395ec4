"""The part of gc for models: merged champions that no campaign and no rollback can use."""

from collections.abc import Iterable
from pathlib import Path

from rft_pipeline.models import MERGED
from rft_pipeline.upkeep.layout import champions_in
from rft_pipeline.upkeep.reach import State


def unneeded_models(models: Path, champions: Iterable[Path], states: Iterable[State]) -> list[Path]:
    """Folders of merged champions that are neither current, nor reachable by rollback, nor named by a campaign."""
    needed = {each.content_hash for path in champions for each in champions_in(path)}
    needed |= {content for state in states for content in state.sources.values()}
    return [path for path in sorted(models.glob(f"{MERGED}*/")) if path.name.removeprefix(MERGED) not in needed]
