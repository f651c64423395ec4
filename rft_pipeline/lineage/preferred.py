"""What people preferred, by rollout: their answers to blind pairs."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from rft_pipeline.labels.pairs import LEFT, RIGHT, TIE, pair_exports_of
from rft_pipeline.lineage.index import Index
from rft_pipeline.store import preferences_table


@dataclass(frozen=True)
class PreferenceFacts:
    """People's answers to a blind pair with a rollout."""

    other: str
    """The other rollout."""
    won: int
    """Number of people who preferred this rollout."""
    lost: int
    ties: int


def preference_facts(index: Index, ids: Sequence[str], campaign: str | None) -> dict[str, list[PreferenceFacts]]:
    """The answers (of one campaign, or of all) about each of these rollouts."""
    votes = preferences_table(index.home.store).rows(pl.any_horizontal(pl.col(LEFT, RIGHT).is_in(list(ids)))).collect()
    if campaign is not None:
        batches = [export.id for export in pair_exports_of(campaign, index.home.store)]
        votes = votes.filter(pl.col("batch").is_in(batches))
    found: dict[str, list[PreferenceFacts]] = defaultdict(list)
    for ours, theirs in ((LEFT, RIGHT), (RIGHT, LEFT)):
        answers = [(pl.col("preferred") == side).sum().alias(f"n_{side}") for side in (ours, theirs, TIE)]
        counts = votes.group_by(ours, theirs).agg(answers).sort(ours, theirs)
        for rollout, other, *numbers in counts.iter_rows():
            found[rollout].append(PreferenceFacts(other, *numbers))
    return found
