"""Compares two rubrics on the stored rollouts of one round, to see the effect of an edit before making it."""

from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from rft_pipeline.campaign import Campaign, with_rubric
from rft_pipeline.campaign.rubric import Rubric
from rft_pipeline.errors import StoreError
from rft_pipeline.lineage.diff.records import by_rubric, criterion_in_words
from rft_pipeline.lineage.diff.scores import ScoreDiff, compare_scores
from rft_pipeline.pipeline.plan import changes
from rft_pipeline.pipeline.sources import source_hashes
from rft_pipeline.progress import Progress
from rft_pipeline.stages.judge_engines import JudgeEngines
from rft_pipeline.stages.judging import judging
from rft_pipeline.store import Home, Record, RecordStore, judgements_table


@dataclass(frozen=True)
class RubricDiff:
    """Rubric A against rubric B on the rollouts of one record."""

    a: Path
    b: Path
    rollouts: Record
    differences: list[str]
    """Criteria added, removed, changed, or with another weight or gate, in words."""
    made: int
    """Number of new judgements."""
    scores: ScoreDiff

    def as_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "a": str(self.a),
            "b": str(self.b),
            "rollouts": self.rollouts.address,
            "differences": self.differences,
            "made": self.made,
            "scores": asdict(self.scores),
        }


def compare_rubrics(campaign: Campaign, home: Home, a: Path, b: Path, round_: int | None = None) -> RubricDiff:
    """Judge a round's rollouts by both rubrics with the campaign's judge; stored judgements are reused.

    The default of `round_` is the last finished round. Missing judgements are made and stored; a model is loaded only
    if there are any. Raises `ConfigError` for an invalid rubric, `StoreError` without rollouts.
    """
    campaigns = with_rubric(campaign, a), with_rubric(campaign, b)
    rollouts = _rollouts(campaign, RecordStore(home.store), round_)
    rows = pl.read_parquet(rollouts.path("rollouts.parquet"), glob=False)
    sides, made = [], 0
    sources = [source_hashes(each, home, fetch=True) for each in campaigns]
    with closing(JudgeEngines(campaign, home.models, {**sources[0], **sources[1]})) as engines:
        for each, judges in zip(campaigns, sources, strict=True):
            rubric = each.rubric
            with judging(
                rows,
                rubric.criteria,
                judges,
                judgements_table(home.store),
                engines,
                Progress("diff"),
                served=campaign.served_judges,
            ) as judged:
                scores, made_now = judged()
            sides.append(by_rubric(rows, scores, rubric))
            made += sum(made_now.values())
    return RubricDiff(a, b, rollouts, _in_words(*(each.rubric for each in campaigns)), made, compare_scores(*sides))


def _rollouts(campaign: Campaign, records: RecordStore, round_: int | None) -> Record:
    """The current rollouts of a round, or of the last evaluated one."""
    if round_ is None:
        rounds = range(campaign.rounds, 0, -1)
        finished = (each for each in rounds if records.current(f"{campaign.name}/round_{each}/eval_reports"))
        round_ = next(finished, None)
        if round_ is None:
            raise StoreError(
                f"campaign {campaign.name} has no finished round; run `rft run {campaign.name}`, "
                "or name a round with rollouts by --round"
            )
    found = records.current(f"{campaign.name}/round_{round_}/rollouts")
    if found is None:
        raise StoreError(f"{campaign.name}/round_{round_}/rollouts: no record; name a round that has rollouts")
    return found


def _in_words(a: Rubric, b: Rubric) -> list[str]:
    """Differences of criteria by name; their order does not matter."""
    old, new = ({each.name: each.identity for each in rubric.criteria} for rubric in (a, b))
    return [criterion_in_words(change) for change in changes(old, new)]
